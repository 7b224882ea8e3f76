//! From the end of a call on the PBX's clock to its start on the same clock.

use chrono::{DateTime, LocalResult, TimeDelta, TimeZone};
use chrono_tz::Tz;
use engine_sdk::{Error, Result};

/// How the PBX's clock runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Never put forward or back: plain arithmetic.
    Unchanging,
    /// As the law of a zone says.
    Zone(Tz),
}

impl Clock {
    /// The clock of a zone of the IANA database.
    pub fn of_zone(name: &str) -> Result<Self> {
        name.parse().map(Self::Zone).map_err(|_| {
            Error::config(format!("`time_zone`: there is no time zone `{name}`"))
                .hint("write a name of the IANA database, such as Europe/Berlin, Asia/Kolkata or UTC")
        })
    }

    /// Where a call started that ended `end` seconds after 1970-01-01 00:00:00
    /// and lasted `duration` seconds. Both times are what the PBX's clock
    /// showed. An end that the clock showed twice is the earlier of the two;
    /// one that it never showed gives the zone as the error.
    pub fn start(self, end: i64, duration: i32) -> Result<i64, Tz> {
        let Self::Zone(zone) = self else {
            return Ok(end - i64::from(duration));
        };
        let shown = DateTime::from_timestamp(end, 0).ok_or(zone)?.naive_utc();
        let end = match zone.from_local_datetime(&shown) {
            LocalResult::Single(end) | LocalResult::Ambiguous(end, _) => end,
            LocalResult::None => return Err(zone),
        };
        let start = end - TimeDelta::seconds(i64::from(duration));
        Ok(start.naive_local().and_utc().timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDateTime;

    fn start(zone: &str, end: &str, duration: i32) -> Option<String> {
        let end = end.parse::<NaiveDateTime>().unwrap().and_utc().timestamp();
        let start = Clock::of_zone(zone).unwrap().start(end, duration).ok()?;
        Some(DateTime::from_timestamp(start, 0).unwrap().naive_utc().to_string())
    }

    #[test]
    fn a_call_across_a_change_of_the_clocks_starts_when_the_clock_showed_its_start() {
        // Berlin: 02:00 became 03:00 on 30 March 2025, 03:00 became 02:00 on 26 October.
        assert_eq!(start("Europe/Berlin", "2025-03-30T03:10:00", 1_200).unwrap(), "2025-03-30 01:50:00");
        assert_eq!(start("Europe/Berlin", "2025-10-26T03:10:00", 1_200).unwrap(), "2025-10-26 02:50:00");
        assert_eq!(start("Europe/Berlin", "2025-10-26T03:10:00", 7_200).unwrap(), "2025-10-26 02:10:00");
        assert_eq!(start("Asia/Kolkata", "2025-03-30T03:10:00", 1_200).unwrap(), "2025-03-30 02:50:00");
    }

    #[test]
    fn an_end_that_was_shown_twice_is_the_earlier_one() {
        // The first 02:30 was still summer time, so an hour before it was 01:30.
        assert_eq!(start("Europe/Berlin", "2025-10-26T02:30:00", 3_600).unwrap(), "2025-10-26 01:30:00");
    }

    #[test]
    fn an_end_that_was_never_shown_is_refused() {
        assert_eq!(start("Europe/Berlin", "2025-03-30T02:30:00", 60), None);
    }

    #[test]
    fn an_unknown_zone_is_refused_with_examples() {
        let error = Clock::of_zone("Europe/Atlantis").unwrap_err();
        assert_eq!(error.kind, engine_sdk::ErrorKind::Config);
        assert!(error.message.contains("Europe/Atlantis") && error.hint.unwrap().contains("Europe/Berlin"));
    }
}
