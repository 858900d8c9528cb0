//! What begins by itself: a file that is followed, runs that are begun by hand and called missed, and what is wrong, said.

use std::fs;
use std::process::Command;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use whole_system_tests::{binary, plain_http, wait_until};

use super::interruptions::full_machine;
use super::support::{PATIENCE, Site};

impl Site {
    /// Puts a new file in the place of the old, as most editors do.
    fn plan(&self, text: &str) {
        fs::write(self.file("new~"), text).unwrap();
        fs::rename(self.file("new~"), self.file("schedules.toml")).unwrap();
    }

    async fn schedules(&self) -> Value {
        let (status, list) = self.ask(Method::GET, "/schedules", None).await;
        assert_eq!(status, StatusCode::OK, "{list}");
        list
    }

    /// Waits until exactly these are in force.
    async fn in_force(&self, names: &[&str]) -> Value {
        wait_until("the schedules to be taken up", PATIENCE, async || {
            let list = self.schedules().await;
            let found = list["schedules"].as_array().unwrap();
            let are_they = found
                .iter()
                .map(|it| it["name"].as_str().unwrap())
                .eq(names.iter().copied());
            (are_they && list["problems"] == json!([])).then_some(list)
        })
        .await
    }

    async fn problems(&self) -> Value {
        wait_until("the problems to be said", PATIENCE, async || {
            let list = self.schedules().await;
            (list["problems"] != json!([])).then_some(list)
        })
        .await
    }

    async fn run_now(&self, name: &str) -> Value {
        let path = format!("/schedules/{name}/run");
        let (status, ran) = self.ask(Method::POST, &path, None).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{ran}");
        ran
    }

    fn schedule(&self, name: &str, calendar: &str, vms: &[&str]) -> String {
        let host = &self.vcenter.host;
        format!(
            "[[schedule]]\nname = '{name}'\ncalendar = '{calendar}'\nzone = 'UTC'\n\
             what = [{{ vcenter_host = '{host}', vms = {vms:?} }}]\n"
        )
    }

    fn records(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.file("e.db")).unwrap()
    }
}

/// A time of day as far away as one can be.
fn far_away() -> String {
    let then = Timestamp::now() + SignedDuration::from_hours(12);
    then.to_zoned(TimeZone::UTC).strftime("%H:30").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_taken_up_begun_by_hand_and_tells_what_became_of_each_machine() {
    let Some(site) = Site::started(&[], &["--rate", "64KiB"]).await else {
        return;
    };
    assert_eq!(site.schedules().await, json!({"schedules": [], "problems": []}));
    let vm = full_machine(&site).await;
    let (path, name) = (vm["path"].as_str().unwrap(), vm["name"].as_str().unwrap());
    let nightly = site.schedule("nightly", &far_away(), &["nobody", path]);
    site.plan(&nightly);
    let list = site.in_force(&["nightly"]).await;
    let next = &list["schedules"][0]["next"];
    let begins: Timestamp = next["begins"].as_str().unwrap().parse().unwrap();
    assert!(begins > Timestamp::now() && next["fate"] == "begin", "{next}");

    let ran = site.run_now("nightly").await;
    let [nobody, started] = &ran["selections"][0]["vms"].as_array().unwrap()[..] else {
        panic!("{ran:#}")
    };
    assert_eq!(nobody["start"], "refused", "{ran:#}");
    assert!(nobody["why"].as_str().unwrap().contains("nobody"), "{ran:#}");
    assert_eq!(started["start"], "started", "{ran:#}");
    let job = started["job"].as_str().unwrap();
    // By its name it is the same machine.
    site.plan(&(nightly.clone() + &site.schedule("other", "daily", &[name])));
    site.in_force(&["nightly", "other"]).await;
    let busy = site.run_now("other").await;
    let expected = json!([{"vm": name, "start": "busy", "job": job}]);
    assert_eq!(busy["selections"][0]["vms"], expected, "{busy:#}");

    let asked: String = site
        .records()
        .query_row(
            "SELECT request FROM replication_jobs WHERE id = ?1",
            [job],
            |row| row.get(0),
        )
        .unwrap();
    let asked: Value = serde_json::from_str(&asked).unwrap();
    assert_eq!(
        (&asked["asked_by"], &asked["vm"]),
        (&json!("schedule nightly"), &vm["path"])
    );

    // With --rate alone it would take twelve minutes.
    site.plan(&(nightly + "[bandwidth]\ndefault = 'unlimited'\n"));
    let list = site.in_force(&["nightly"]).await;
    let ended = site.ended(job).await;
    assert_eq!(ended["status"], "completed", "{ended:#}\n{}", site.said());
    let run = &list["schedules"][0]["runs"][0];
    assert_eq!(
        (&run["outcome"], &run["begun_by"]),
        (&json!("begun"), &json!("person")),
        "{run:#}"
    );
    assert_eq!(run["selections"], ran["selections"]);
    site.assert_equal(&vm, &ended).await;
    site.assert_nothing_left().await;
    let (status, problem) = site.ask(Method::POST, "/schedules/other/run", None).await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (404, &json!("schedule_not_found"))
    );
    let open = plain_http()
        .get(format!("{}/api/v1/schedules", site.api))
        .send()
        .await
        .unwrap();
    assert_eq!(open.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_that_are_wrong_are_said_and_the_old_ones_stay_in_force() {
    let Some(mut site) = Site::started(&[], &[]).await else {
        return;
    };
    let good = site.schedule("nightly", "02:30", &["web"]);
    site.plan(&good);
    site.in_force(&["nightly"]).await;
    let bad = site.schedule("weekly", "Mon 25:00", &["web"]) + "[bandwidth]\ndefault = 'fast'\n";
    site.plan(&bad);
    let list = site.problems().await;
    assert_eq!(list["schedules"][0]["name"], "nightly");
    let problems = list["problems"].to_string();
    for key in ["schedule.weekly.calendar: ", "bandwidth.default: "] {
        assert!(problems.contains(key), "{problems}");
        assert!(site.said().contains(key), "{}", site.said());
    }
    let times_said = || site.said().matches("bandwidth.default: ").count();
    let before = times_said();
    site.signal(Signal::HUP);
    wait_until("the problem to be said again", PATIENCE, async || {
        (times_said() > before).then_some(())
    })
    .await;
    site.plan(&good.replace("nightly", "renamed"));
    site.in_force(&["renamed"]).await;

    site.end(Signal::TERM);
    site.plan(&bad);
    let path = |name: &str| site.file(name).display().to_string();
    let started = Command::new(binary("migrate-engine"))
        .args([
            "serve",
            "--volumed-socket",
            &site.appliance.setup.socket.display().to_string(),
        ])
        .args(["--listen", "127.0.0.1:0", "--discovery-listen", "127.0.0.1:0"])
        .args(["--database", &path("e.db"), "--runtime-dir", &path("r")])
        .args(["--sources", &path("sources.toml"), "--token-file", &path("token")])
        .args([
            "--nbd-listen",
            &path("nbd.sock"),
            "--schedules",
            &path("schedules.toml"),
        ])
        .output()
        .unwrap();
    let said = String::from_utf8(started.stderr).unwrap();
    assert!(!started.status.success(), "{said}");
    for words in [
        "schedules.toml",
        "schedule.weekly.calendar: ",
        "bandwidth.default: ",
    ] {
        assert!(said.contains(words), "{said}");
    }
    site.plan(&good);
    site.start().await;
    site.in_force(&["nightly"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_were_missed_are_said_once_after_a_restart_and_not_caught_up() {
    let Some(mut site) = Site::started(&[], &[]).await else {
        return;
    };
    let vm = site.machines().await.remove(0);
    let nightly = site.schedule("nightly", &far_away(), &[vm["path"].as_str().unwrap()]);
    site.plan(&nightly);
    let list = site.in_force(&["nightly"]).await;
    assert_eq!(list["schedules"][0]["missed"], json!([]));
    site.end(Signal::TERM);
    let three_days_ago = (Timestamp::now() - SignedDuration::from_hours(72))
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let changed = site
        .records()
        .execute(
            "UPDATE schedules SET settled_until = ?1 WHERE name = 'nightly'",
            [three_days_ago],
        )
        .unwrap();
    assert_eq!(changed, 1, "the schedule was on record");
    for _ in 0..2 {
        site.start().await;
        let list = site.in_force(&["nightly"]).await;
        let schedule = &list["schedules"][0];
        let [missed] = &schedule["missed"].as_array().unwrap()[..] else {
            panic!("{list:#}\n{}", site.said())
        };
        assert_eq!(missed["runs"], 3, "{missed}");
        assert_eq!(schedule["runs"], json!([]));
        assert_eq!(
            site.said()
                .matches("runs were missed and are not caught up")
                .count(),
            1,
            "{}",
            site.said()
        );
        site.end(Signal::TERM);
    }
    site.start().await;
    let (_, jobs) = site.ask(Method::GET, "/replications", None).await;
    assert_eq!(jobs["replications"], json!([]));
}
