//! The table, and the cap that follows it.

use std::time::Duration;

use jiff::SignedDuration;
use proptest::prelude::*;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::schedule::testing::{FakeClock, at, berlin};
use crate::transfer::RateLimit;

const MIB: u64 = 1 << 20;

fn table(default: &str, windows: &[(&str, &str)]) -> Bandwidth {
    let windows = windows.iter().map(|(when, rate)| BandwidthWindow {
        when: when.parse().unwrap(),
        rate: rate.parse().unwrap(),
    });
    Bandwidth {
        zone: berlin(),
        default: default.parse().unwrap(),
        windows: windows.collect(),
    }
}

fn office() -> Bandwidth {
    let windows = [
        ("Mon..Fri 08:00-18:00", "20 MiB/s"),
        ("Mon..Fri 06:00-20:00", "50MiB"),
    ];
    table("unlimited", &windows)
}

#[test]
fn the_first_window_that_holds_decides() {
    for (moment, rate, changes) in [
        // A Monday.
        ("2026-11-30T05:59", "unlimited", "2026-11-30T06:00"),
        ("2026-11-30T06:00", "50 MiB", "2026-11-30T08:00"),
        ("2026-11-30T12:00", "20 MiB", "2026-11-30T18:00"),
        ("2026-11-30T18:00", "50 MiB", "2026-11-30T20:00"),
        ("2026-12-04T20:00", "unlimited", "2026-12-07T06:00"),
    ] {
        let now = office().at(at(moment));
        assert_eq!(now.rate, rate.parse().unwrap(), "{moment}");
        assert_eq!(now.changes, Some(at(changes)), "{moment}");
    }
}

#[test]
fn a_bound_at_which_the_rate_stays_is_no_change() {
    let same = table(
        "10 MiB",
        &[("00:00-12:00", "20 MiB"), ("Mon 12:00-24:00", "20 MiB")],
    );
    assert_eq!(
        same.at(at("2026-11-30T08:00")).changes,
        Some(at("2026-12-01T12:00"))
    );
    let never = table("20 MiB", &[("08:00-18:00", "20 MiB")]);
    assert_eq!(never.at(at("2026-11-30T08:00")).changes, None);
    assert_eq!(table("unlimited", &[]).at(at("2026-11-30T08:00")).changes, None);
}

proptest! {
    #[test]
    fn nothing_changes_before_the_change(minutes in 0_i64..14 * 24 * 60, step in 1_i64..600) {
        // Across a change of clocks.
        let (table, from) = (office(), at("2026-10-19T00:00") + SignedDuration::from_mins(minutes));
        let now = table.at(from);
        let changes = now.changes.unwrap();
        prop_assert!(changes > from && table.at(changes).rate != now.rate);
        let between = from + SignedDuration::from_mins(step);
        prop_assert!(between >= changes || table.at(between) == now);
    }
}

#[test]
fn rates_are_sizes_for_each_second() {
    assert_eq!("Unlimited".parse(), Ok(Rate::Unlimited));
    assert_eq!(
        "1.5 MiB".parse::<Rate>(),
        Err(RateError::Unknown("1.5 MiB".to_owned()))
    );
    assert_eq!(
        "0 MiB/s".parse::<Rate>(),
        Err(RateError::Zero("0 MiB/s".to_owned()))
    );
    let rate: Rate = "20 MiB/s".parse().unwrap();
    assert_eq!(
        (rate.bytes_per_second(), rate.to_string()),
        (Some(20 * MIB), "20 MiB/s".to_owned())
    );
}

/// Lets everything that is ready take its turn, and a moment pass.
async fn a_moment() {
    sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn the_cap_follows_the_table() {
    let (clock, limit, stopping) = (
        FakeClock::new("2026-11-30T05:00"),
        RateLimit::new(Some(1)),
        CancellationToken::new(),
    );
    let (table_sender, tables) = watch::channel(office());
    let following = tokio::spawn(follow(tables, limit.clone(), clock.clone(), stopping.clone()));
    a_moment().await;
    assert_eq!(limit.get(), None);
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(limit.get(), Some(50 * MIB));
    sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(limit.get(), Some(20 * MIB));

    // What a person sets holds until the next change.
    limit.set(Some(7));
    sleep(Duration::from_secs(9 * 3600)).await;
    assert_eq!(limit.get(), Some(7));
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(limit.get(), Some(50 * MIB));

    // A clock that is set is noticed within a minute.
    clock.jump(SignedDuration::from_hours(-6));
    sleep(Duration::from_secs(61)).await;
    assert_eq!(limit.get(), Some(20 * MIB));

    table_sender.send(table("3 MiB", &[])).unwrap();
    a_moment().await;
    assert_eq!(limit.get(), Some(3 * MIB));
    drop(table_sender);
    a_moment().await;
    assert!(
        !following.is_finished(),
        "nobody changes the table any more, it still holds"
    );

    stopping.cancel();
    following.await.unwrap();
    assert_eq!(limit.get(), Some(3 * MIB));
}
