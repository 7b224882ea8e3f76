//! What is due of a schedule: which of its slots get a run, and which are passed over.
//!
//! Nothing here looks at a clock or stores anything: a schedule, how far it has been decided on, and a time come in.

use chrono::{DateTime, TimeDelta, Utc};
use engine_spec::{Missed, Schedule};

/// A slot is on time up to here. One that comes later was missed: the machine slept, or no engine ran.
pub const ON_TIME: TimeDelta = TimeDelta::minutes(1);
/// `missed: all`: the most slots that get a run at once, the newest.
pub const MOST_MISSED: usize = 1_000;
/// A clock that stands further behind what was decided was wrong before and is right now: the schedule begins anew.
/// One that was set back by less comes to the same slots again, and they are not run again.
pub const SET_BACK: TimeDelta = TimeDelta::hours(3);

/// What a look at a schedule comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Nothing: the next slot is still to come, if there is one.
    Nothing {
        /// When it comes.
        next: Option<DateTime<Utc>>,
    },
    /// Slots have come.
    Slots {
        /// The last of them: up to here it is decided.
        until: DateTime<Utc>,
        /// Those that get a run, in order.
        run: Vec<DateTime<Utc>>,
        /// Slots were passed over.
        passed_over: bool,
    },
    /// The clock was set back by so much that the schedule begins anew.
    SetBack,
}

/// What is due at `now` of a schedule that is decided on up to `reached`. `held`: it is paused.
pub fn due(schedule: &Schedule, reached: DateTime<Utc>, held: bool, now: DateTime<Utc>) -> Due {
    if reached - now > SET_BACK {
        return Due::SetBack;
    }
    let Some(next) = schedule.next_after(reached) else { return Due::Nothing { next: None } };
    // A clock that cannot be asked for the last slot has none that has come.
    let Some(until) = schedule.last_until(now).filter(|last| *last >= next && next <= now) else {
        return Due::Nothing { next: Some(next) };
    };
    if held {
        return Due::Slots { until, run: Vec::new(), passed_over: false };
    }
    let is_late = now - until > ON_TIME;
    let run = match schedule.missed {
        Missed::None if is_late => Vec::new(),
        Missed::Latest | Missed::None => vec![until],
        Missed::All => newest(schedule, next, until),
    };
    let passed_over = run.first() != Some(&next);
    Due::Slots { until, run, passed_over }
}

/// The newest slots from `first` to `last`, both included, in order.
fn newest(schedule: &Schedule, first: DateTime<Utc>, last: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let before = |slot: &DateTime<Utc>| schedule.last_until(*slot - TimeDelta::milliseconds(1));
    let mut slots: Vec<_> =
        std::iter::successors(Some(last), before).take_while(|slot| *slot >= first).take(MOST_MISSED).collect();
    slots.reverse();
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Tz;
    use engine_spec::Source;

    const ZONES: [Tz; 4] = [
        chrono_tz::Europe::Dublin,
        chrono_tz::America::New_York,
        chrono_tz::Australia::Lord_Howe,
        chrono_tz::Asia::Kolkata,
    ];

    fn schedule(cron: &str, missed: Missed) -> Schedule {
        in_zone(cron, missed, Tz::UTC)
    }

    fn in_zone(cron: &str, missed: Missed, zone: Tz) -> Schedule {
        let span = Source::new("test", "").span(0..0);
        Schedule { missed, ..Schedule::of_cron(cron, zone, span).unwrap() }
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn run(schedule: &Schedule, reached: &str, now: &str) -> Vec<String> {
        match due(schedule, at(reached), false, at(now)) {
            Due::Slots { run, .. } => run.iter().map(|slot| slot.format("%m-%d %H:%M").to_string()).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_slot_is_due_from_its_moment_on() {
        let schedule = schedule("0 * * * *", Missed::Latest);
        let next = at("2026-03-01T08:00:00Z");
        let (reached, before) = (at("2026-03-01T07:00:00Z"), at("2026-03-01T07:59:59.999Z"));
        assert_eq!(due(&schedule, reached, false, before), Due::Nothing { next: Some(next) });
        let expected = Due::Slots { until: next, run: vec![next], passed_over: false };
        assert_eq!(due(&schedule, reached, false, next), expected);
        // Decided between two slots.
        assert_eq!(due(&schedule, at("2026-03-01T07:20:00Z"), false, next), expected);
    }

    #[test]
    fn what_was_missed_gets_what_the_schedule_says() {
        let (reached, now) = ("2026-03-01T07:00:00Z", "2026-03-01T10:30:00Z");
        assert_eq!(run(&schedule("0 * * * *", Missed::Latest), reached, now), ["03-01 10:00"]);
        assert_eq!(
            run(&schedule("0 * * * *", Missed::All), reached, now),
            ["03-01 08:00", "03-01 09:00", "03-01 10:00"]
        );
        assert!(run(&schedule("0 * * * *", Missed::None), reached, now).is_empty());
        // What is on time was not missed.
        assert_eq!(run(&schedule("0 * * * *", Missed::None), reached, "2026-03-01T10:01:00Z"), ["03-01 10:00"]);
        let Due::Slots { passed_over, .. } = due(&schedule("0 * * * *", Missed::All), at(reached), false, at(now))
        else {
            panic!()
        };
        assert!(!passed_over);
    }

    #[test]
    fn a_clock_set_forward_by_a_year_is_as_a_year_without_an_engine() {
        let (reached, now) = ("2026-03-01T07:00:00Z", "2027-03-01T07:00:30Z");
        assert_eq!(run(&schedule("* * * * *", Missed::Latest), reached, now), ["03-01 07:00"]);
        let all = run(&schedule("* * * * *", Missed::All), reached, now);
        assert_eq!((all.len(), all.last().unwrap().as_str()), (MOST_MISSED, "03-01 07:00"));
    }

    #[test]
    fn a_clock_set_back_brings_no_slot_twice() {
        let schedule = schedule("*/10 * * * *", Missed::Latest);
        let reached = at("2026-03-01T07:00:00Z");
        for now in ["2026-03-01T06:10:00Z", "2026-03-01T04:00:00Z", "2026-03-01T07:00:00Z"] {
            let next = Some(at("2026-03-01T07:10:00Z"));
            assert_eq!(due(&schedule, reached, false, at(now)), Due::Nothing { next }, "{now}");
        }
        for now in ["2026-03-01T03:59:59Z", "2025-03-01T07:00:00Z"] {
            assert_eq!(due(&schedule, reached, false, at(now)), Due::SetBack, "{now}");
        }
    }

    #[test]
    fn a_paused_schedule_passes_its_slots_over() {
        let schedule = schedule("0 * * * *", Missed::All);
        let until = at("2026-03-01T09:00:00Z");
        let expected = Due::Slots { until, run: Vec::new(), passed_over: false };
        assert_eq!(due(&schedule, at("2026-03-01T07:00:00Z"), true, at("2026-03-01T09:30:00Z")), expected);
    }

    /// A year of looks at odd moments, over every setting of clocks: each slot once, none left out.
    #[test]
    fn every_slot_of_a_year_is_run_once_in_every_zone() {
        for (zone, cron) in
            ZONES.into_iter().flat_map(|zone| ["30 1 * * *", "*/30 * * * *", "15 2,14 * * *"].map(|cron| (zone, cron)))
        {
            let schedule = in_zone(cron, Missed::All, zone);
            let (mut now, end) = (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
            let mut reached = now;
            let mut slots = Vec::new();
            let mut step = 0;
            while now < end {
                // Between one second and five hours.
                step = (step * 7_919 + 104_729) % 18_000;
                now += TimeDelta::seconds(1 + step);
                if let Due::Slots { until, run, passed_over } = due(&schedule, reached, false, now) {
                    assert!(!passed_over, "{zone} {cron} {now}");
                    slots.extend(run);
                    reached = until;
                }
            }
            let first = schedule.next_after(at("2026-01-01T00:00:00Z"));
            let all: Vec<_> = std::iter::successors(first, |slot| schedule.next_after(*slot))
                .take_while(|slot| *slot <= reached)
                .collect();
            assert_eq!(slots, all, "{zone} {cron}");
            let expected = match cron {
                "30 1 * * *" => 365..=366,
                "15 2,14 * * *" => 730..=731,
                _ => 17_515..=17_530,
            };
            assert!(expected.contains(&slots.len()), "{zone} {cron}: {}", slots.len());
        }
    }
}
