//! The times of schedules, also where clocks are set.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, MappedLocalTime, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use engine_spec::{Schedule, Source, Times};
use proptest::prelude::*;

const DUBLIN: Tz = chrono_tz::Europe::Dublin;
const NEW_YORK: Tz = chrono_tz::America::New_York;
const LORD_HOWE: Tz = chrono_tz::Australia::Lord_Howe;
const KOLKATA: Tz = chrono_tz::Asia::Kolkata;
const ZONES: [Tz; 4] = [DUBLIN, NEW_YORK, LORD_HOWE, KOLKATA];

fn schedule(cron: &str, zone: Tz) -> Schedule {
    Schedule::of_cron(cron, zone, Source::new("test", "").span(0..0)).unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The slots of `[from, to)` as local times with their offsets.
fn slots(cron: &str, zone: Tz, from: &str, to: &str) -> Vec<String> {
    let found = between(&schedule(cron, zone), at(from), at(to));
    found.into_iter().map(|slot| slot.with_timezone(&zone).format("%m-%d %H:%M%z").to_string()).collect()
}

fn between(schedule: &Schedule, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let first = schedule.next_after(from - TimeDelta::milliseconds(1));
    std::iter::successors(first, |slot| schedule.next_after(*slot)).take_while(|slot| *slot < to).collect()
}

#[test]
fn a_time_that_clocks_skip_comes_when_they_are_set() {
    // Dublin: 01:00 to 02:00 on 29 March 2026.
    assert_eq!(
        slots("30 1 * * *", DUBLIN, "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z"),
        ["03-28 01:30+0000", "03-29 02:00+0100", "03-30 01:30+0100"]
    );
    // New York: 02:00 to 03:00 on 8 March 2026.
    assert_eq!(
        slots("0,30 2,14 * * *", NEW_YORK, "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"),
        ["03-08 03:00-0400", "03-08 14:00-0400", "03-08 14:30-0400"]
    );
    // Lord Howe: half an hour, 02:00 to 02:30 on 4 October 2026.
    assert_eq!(
        slots("15 2 * * *", LORD_HOWE, "2026-10-02T14:00:00Z", "2026-10-05T14:00:00Z"),
        ["10-03 02:15+1030", "10-04 02:30+1100", "10-05 02:15+1100"]
    );
}

#[test]
fn a_time_that_clocks_show_twice_comes_the_first_time() {
    assert_eq!(
        slots("30 1 * * *", DUBLIN, "2026-10-24T00:00:00Z", "2026-10-27T00:00:00Z"),
        ["10-24 01:30+0100", "10-25 01:30+0100", "10-26 01:30+0000"]
    );
    assert_eq!(
        slots("0,30 1,13 * * *", NEW_YORK, "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"),
        ["11-01 01:00-0400", "11-01 01:30-0400", "11-01 13:00-0500", "11-01 13:30-0500"]
    );
    assert_eq!(
        slots("45 1 * * *", LORD_HOWE, "2026-04-03T14:00:00Z", "2026-04-06T14:00:00Z"),
        ["04-04 01:45+1100", "04-05 01:45+1100", "04-06 01:45+1030"]
    );
}

#[test]
fn where_every_hour_is_meant_slots_follow_the_time_that_passes() {
    assert_eq!(
        slots("0 * * * *", DUBLIN, "2026-03-29T00:00:00Z", "2026-03-29T03:00:00Z"),
        ["03-29 00:00+0000", "03-29 02:00+0100", "03-29 03:00+0100"]
    );
    assert_eq!(
        slots("*/30 * * * *", NEW_YORK, "2026-11-01T05:00:00Z", "2026-11-01T07:00:00Z"),
        ["11-01 01:00-0400", "11-01 01:30-0400", "11-01 01:00-0500", "11-01 01:30-0500"]
    );
    assert_eq!(
        slots("*/15 * * * *", LORD_HOWE, "2026-04-04T14:15:00Z", "2026-04-04T15:45:00Z"),
        [
            "04-05 01:15+1100",
            "04-05 01:30+1100",
            "04-05 01:45+1100",
            "04-05 01:30+1030",
            "04-05 01:45+1030",
            "04-05 02:00+1030"
        ]
    );
}

#[test]
fn a_day_that_an_island_has_left_out_has_its_slots_where_clocks_were_set() {
    let apia = chrono_tz::Pacific::Apia;
    let (from, to) = ("2011-12-29T00:00:00Z", "2012-01-01T09:00:00Z");
    assert_eq!(
        slots("0 7 * * *", apia, from, to),
        ["12-29 07:00-1000", "12-31 00:00+1400", "12-31 07:00+1400", "01-01 07:00+1400"]
    );
    assert_eq!(
        slots("0 */12 * * *", apia, from, to),
        [
            "12-29 00:00-1000",
            "12-29 12:00-1000",
            "12-31 00:00+1400",
            "12-31 12:00+1400",
            "01-01 00:00+1400",
            "01-01 12:00+1400"
        ]
    );
}

#[test]
fn a_zone_whose_clocks_are_never_set_has_a_slot_a_day() {
    let found = between(&schedule("30 2 * * *", KOLKATA), at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
    assert_eq!(found.len(), 365);
    assert!(found.iter().all(|slot| (slot.hour(), slot.minute()) == (21, 0)));
}

#[test]
fn expressions_have_names_the_last_and_the_nth() {
    let utc = Tz::UTC;
    let (from, to) = ("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z");
    assert_eq!(slots("0 7 L * *", utc, from, to), ["02-28 07:00+0000"]);
    assert_eq!(slots("0 7 * FEB mon#2", utc, from, to), ["02-09 07:00+0000"]);
    assert_eq!(slots("0 7 * * fri#L", utc, from, to), ["02-27 07:00+0000"]);
    assert_eq!(slots("@monthly", utc, from, to), ["02-01 00:00+0000"]);
    assert_eq!(slots("0 7 * * sun", utc, from, to).len(), 4);
    assert_eq!(slots("0 7 * * 7", utc, from, to), slots("0 7 * * 0", utc, from, to));
    let seconds = between(&schedule("*/20 * * * * *", utc), at("2026-02-01T00:00:00Z"), at("2026-02-01T00:01:00Z"));
    assert_eq!(seconds.iter().map(Timelike::second).collect::<Vec<_>>(), [0, 20, 40]);
    for wrong in ["", "* * * *", "60 * * * *", "0 7 * * someday", "0 7 * * * * 2026", "0 0 7 * * * 2026", "every day"] {
        let problem = Schedule::of_cron(wrong, utc, Source::new("test", "").span(0..0)).unwrap_err();
        assert!(problem.contains("5 fields"), "{wrong}: {problem}");
    }
}

#[test]
fn every_so_long_is_counted_from_1970_whatever_the_zone() {
    let mut schedule = schedule("0 0 * * *", LORD_HOWE);
    schedule.times = Times::Every(std::time::Duration::from_secs(90));
    assert_eq!(schedule.next_after(at("2026-04-04T15:00:00Z")), Some(at("2026-04-04T15:01:30Z")));
    assert_eq!(schedule.last_until(at("2026-04-04T15:01:29.999Z")), Some(at("2026-04-04T15:00:00Z")));
    assert_eq!(schedule.last_until(at("2026-04-04T15:01:30Z")), Some(at("2026-04-04T15:01:30Z")));
}

#[test]
fn a_delay_is_the_same_each_time_and_spread_over_pipelines() {
    let mut schedule = schedule("0 * * * *", Tz::UTC);
    let slot = at("2026-04-04T15:00:00Z");
    assert_eq!(schedule.delay("calls", slot), std::time::Duration::ZERO);
    schedule.jitter = std::time::Duration::from_secs(10);
    let delays: Vec<_> = (0..1_000).map(|at| schedule.delay(&format!("p{at}"), slot).as_millis()).collect();
    assert_eq!(delays[7], schedule.delay("p7", slot).as_millis());
    assert!(delays.iter().all(|delay| *delay < 10_000));
    for second in 0..10 {
        let within = delays.iter().filter(|delay| **delay / 1_000 == second).count();
        assert!((60..=140).contains(&within), "second {second}: {within}");
    }
}

/// The rule, the long way: every minute of the days around, looked at one by one.
fn by_hand(
    minutes: &BTreeSet<u32>,
    hours: Option<&BTreeSet<u32>>,
    zone: Tz,
    from: NaiveDateTime,
    days: i64,
) -> Vec<DateTime<Utc>> {
    let mut found = BTreeSet::new();
    let is_named = |time: NaiveDateTime| {
        minutes.contains(&time.minute()) && hours.is_none_or(|hours| hours.contains(&time.hour()))
    };
    for minute in -3_000..days * 1_440 + 3_000 {
        let step = TimeDelta::minutes(minute);
        match hours {
            None => {
                let time = from.and_utc() + step;
                if is_named(time.with_timezone(&zone).naive_local()) {
                    found.insert(time);
                }
            }
            Some(_) if is_named(from + step) => {
                let local = from + step;
                let existing = (0..1_441).map(|later| zone.from_local_datetime(&(local + TimeDelta::minutes(later))));
                let first = existing.into_iter().find(|time| !matches!(time, MappedLocalTime::None));
                found.extend(first.and_then(|time| time.earliest()).map(|time| time.with_timezone(&Utc)));
            }
            Some(_) => {}
        }
    }
    let (from, to) = (from.and_utc(), from.and_utc() + TimeDelta::days(days));
    found.into_iter().filter(|time| (from..to).contains(time)).collect()
}

/// Days on which clocks are set somewhere, and a few others.
fn some_day() -> impl Strategy<Value = NaiveDateTime> {
    let days = [
        "2026-03-28",
        "2026-10-24",
        "2026-03-07",
        "2026-10-31",
        "2026-04-04",
        "2026-10-03",
        "2026-01-01",
        "2027-12-30",
    ];
    (0..days.len(), 0..2_880_i64).prop_map(move |(day, minute)| {
        let start: NaiveDateTime = format!("{}T00:00:00", days[day]).parse().unwrap();
        start - TimeDelta::days(1) + TimeDelta::minutes(minute)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn slots_are_those_of_the_rule(
        zone in 0..ZONES.len(),
        minutes in proptest::collection::btree_set(0_u32..60, 1..4),
        hours in proptest::option::of(proptest::collection::btree_set(0_u32..5, 1..4)),
        from in some_day(),
    ) {
        let zone = ZONES[zone];
        let list = |numbers: &BTreeSet<u32>| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let cron = format!("{} {} * * *", list(&minutes), hours.as_ref().map_or("*".into(), list));
        let schedule = schedule(&cron, zone);
        let expected = by_hand(&minutes, hours.as_ref(), zone, from, 3);
        let to = from.and_utc() + TimeDelta::days(3);
        prop_assert_eq!(&between(&schedule, from.and_utc(), to), &expected, "{} {}", cron, zone);
        // Backwards it is the same, from any time between two slots.
        let mut time = to - TimeDelta::milliseconds(1);
        let mut backwards = Vec::new();
        while let Some(slot) = schedule.last_until(time).filter(|slot| *slot >= from.and_utc()) {
            prop_assert_eq!(schedule.last_until(slot), Some(slot));
            backwards.push(slot);
            time = slot - TimeDelta::milliseconds(1);
        }
        backwards.reverse();
        prop_assert_eq!(&backwards, &expected, "{} {} backwards", cron, zone);
        // And from any other time, also while clocks show something for the second time.
        if let (Some(first), Some(last)) = (expected.first(), expected.last()) {
            for time in (0..).map(|step| *first + TimeDelta::seconds(step * 617)).take_while(|time| time < last) {
                let next = expected.partition_point(|slot| *slot <= time);
                prop_assert_eq!(schedule.next_after(time), Some(expected[next]), "{} {} after {}", cron, zone, time);
                prop_assert_eq!(schedule.last_until(time), Some(expected[next - 1]), "{} {} until {}", cron, zone, time);
            }
        }
    }

    #[test]
    fn a_named_time_is_one_slot_a_day_for_years(zone in 0..ZONES.len(), hour in 0_u32..24, minute in 0_u32..60) {
        let zone = ZONES[zone];
        let schedule = schedule(&format!("{minute} {hour} * * *"), zone);
        let slots = between(&schedule, at("2025-12-31T12:00:00Z"), at("2029-12-31T12:00:00Z"));
        let days: BTreeSet<_> = slots.iter().map(|slot| slot.with_timezone(&zone).num_days_from_ce()).collect();
        prop_assert_eq!(days.len(), slots.len());
        prop_assert_eq!(slots.len(), 1_461);
    }
}
