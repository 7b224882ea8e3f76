//! Schedules in words.

use crate::view::ScheduleView;

const DAYS: [&str; 8] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const SHORT_DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// When a pipeline runs by itself: `every day at 06:30`. What has no short words stays as it is written.
pub(super) fn in_words(schedule: &ScheduleView) -> String {
    let times = of_cron(&schedule.times).unwrap_or_else(|| match schedule.times.starts_with("every ") {
        true => schedule.times.clone(),
        false => format!("at the times of `{}`", schedule.times),
    });
    if schedule.on_start { format!("{times}, and when the service starts") } else { times }
}

/// What becomes of times that it cannot keep.
pub(super) fn exceptions(schedule: &ScheduleView) -> String {
    let missed = match schedule.missed.as_str() {
        "latest" => "of times at which no engine ran, the latest is made up for",
        "all" => "all times at which no engine ran are made up for",
        _ => "times at which no engine ran are passed over",
    };
    let overlap = match schedule.overlap.as_str() {
        "skip" => "a time at which the run before still runs is passed over",
        _ => "a time at which the run before still runs waits for its end",
    };
    format!("{missed}; {overlap}")
}

fn of_cron(text: &str) -> Option<String> {
    let [minute, hour, day, month, weekday] = text.split_whitespace().collect::<Vec<_>>()[..] else { return None };
    if month != "*" {
        return None;
    }
    let when = times(minute, hour)?;
    // The step of a part of the day makes no sense with days in front.
    match (day, weekday) {
        ("*", "*") => Some(when),
        _ if hour == "*" || hour.starts_with("*/") => None,
        ("*", weekday) => Some(format!("{} {}", days(weekday)?, clock(&when))),
        (day, "*") => Some(format!("on day {} of every month {}", below(day, 32)?, clock(&when))),
        _ => None,
    }
}

/// `every day at 06:30` without the day.
fn clock(when: &str) -> &str {
    when.strip_prefix("every day ").unwrap_or(when)
}

fn times(minute: &str, hour: &str) -> Option<String> {
    match (step(minute, 60), step(hour, 24)) {
        (Some(1), _) if hour == "*" => return Some("every minute".into()),
        (Some(step), _) if hour == "*" => return Some(format!("every {step} minutes")),
        (_, Some(1)) => return Some(format!("every hour at minute {}", below(minute, 60)?)),
        (_, Some(step)) => return Some(format!("every {step} hours at minute {}", below(minute, 60)?)),
        _ => {}
    }
    let minute = below(minute, 60)?;
    let hours: Option<Vec<_>> =
        hour.split(',').map(|hour| below(hour, 24).map(|hour| format!("{hour:02}:{minute:02}"))).collect();
    Some(format!("every day at {}", listed(&hours?)))
}

/// `*` is a step of 1, `*/5` one of 5. One that does not divide the whole has another length at its end.
fn step(field: &str, whole: u32) -> Option<u32> {
    let step = if field == "*" { 1 } else { field.strip_prefix("*/")?.parse().ok()? };
    (step > 0 && whole.is_multiple_of(step)).then_some(step)
}

fn below(field: &str, bound: u32) -> Option<u32> {
    field.parse().ok().filter(|number| *number < bound)
}

fn days(field: &str) -> Option<String> {
    if matches!(field.to_lowercase().as_str(), "1-5" | "mon-fri") {
        return Some("from Monday to Friday".into());
    }
    let names: Option<Vec<_>> = field.split(',').map(|day| Some(format!("{}s", weekday(day)?))).collect();
    Some(format!("on {}", listed(&names?)))
}

fn weekday(field: &str) -> Option<&'static str> {
    let of_name = SHORT_DAYS.iter().position(|day| field.eq_ignore_ascii_case(day));
    DAYS.get(of_name.or_else(|| field.parse().ok())?).copied()
}

fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_schedules_have_words_and_others_stay_as_they_are() {
        for (times, words) in [
            ("* * * * *", "every minute"),
            ("*/10 * * * *", "every 10 minutes"),
            ("*/7 * * * *", "at the times of `*/7 * * * *`"),
            ("5 * * * *", "every hour at minute 5"),
            ("0 */6 * * *", "every 6 hours at minute 0"),
            ("30 6 * * *", "every day at 06:30"),
            ("0 6,18 * * *", "every day at 06:00 and 18:00"),
            ("0 7 * * 1", "on Mondays at 07:00"),
            ("0 7 * * mon,wed,0", "on Mondays, Wednesdays and Sundays at 07:00"),
            ("15 7 * * MON-FRI", "from Monday to Friday at 07:15"),
            ("0 2 1 * *", "on day 1 of every month at 02:00"),
            ("*/5 * * * 1", "at the times of `*/5 * * * 1`"),
            ("0 2 1 1 *", "at the times of `0 2 1 1 *`"),
            ("0 9-17 * * *", "at the times of `0 9-17 * * *`"),
            ("every 90s", "every 90s"),
        ] {
            let schedule = ScheduleView {
                times: times.into(),
                timezone: "UTC".into(),
                on_start: false,
                missed: "latest".into(),
                overlap: "skip".into(),
                paused: false,
            };
            assert_eq!(in_words(&schedule), words);
            let at_start = ScheduleView { on_start: true, ..schedule };
            assert_eq!(in_words(&at_start), format!("{words}, and when the service starts"));
        }
    }
}
