//! A running process takes a good file up, and keeps the plan before a bad one.

use std::fs;

use tempfile::TempDir;
use tokio::sync::watch::Receiver;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::schedule::Rate;

const PATIENCE: Duration = Duration::from_secs(30);

/// Events alone: the timer comes too late to help.
const BY_EVENTS: Pace = Pace {
    quiet: Duration::from_millis(10),
    longest: Duration::from_millis(100),
    rest: Duration::from_secs(3600),
};

struct Place {
    dir: TempDir,
    stopping: CancellationToken,
}

struct Followed {
    schedules: Receiver<Vec<Schedule>>,
    bandwidth: Receiver<Bandwidth>,
    problem: Receiver<Option<Arc<PlanFileError>>>,
    asked: Arc<Notify>,
    running: JoinHandle<()>,
}

impl Place {
    fn with(text: Option<&str>) -> Self {
        let place = Self {
            dir: tempfile::tempdir().unwrap(),
            stopping: CancellationToken::new(),
        };
        if let Some(text) = text {
            place.put(text);
        }
        place
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("schedules.toml")
    }

    fn put(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    async fn followed(&self) -> Followed {
        let watch = PlanWatch::open_at(&self.path(), usual(), BY_EVENTS)
            .await
            .unwrap();
        Followed {
            schedules: watch.schedules(),
            bandwidth: watch.bandwidth(),
            problem: watch.problem(),
            asked: watch.asked(),
            running: tokio::spawn(watch.run(self.stopping.clone())),
        }
    }
}

impl Followed {
    async fn are(&mut self, names: &[&str]) {
        let are_they =
            |schedules: &Vec<Schedule>| schedules.iter().map(|it| &*it.name).eq(names.iter().copied());
        let found = timeout(PATIENCE, self.schedules.wait_for(are_they)).await;
        found
            .unwrap_or_else(|_| panic!("{names:?} did not come"))
            .unwrap();
    }

    async fn says(&mut self, is_expected: impl Fn(Option<&PlanFileError>) -> bool) -> String {
        let found = timeout(PATIENCE, self.problem.wait_for(|it| is_expected(it.as_deref()))).await;
        let found = found.expect("the problem was not said").unwrap();
        found
            .as_ref()
            .map(|it| it.problems().join("\n"))
            .unwrap_or_default()
    }
}

fn usual() -> Bandwidth {
    Bandwidth {
        zone: "UTC".parse().unwrap(),
        default: "1 MiB/s".parse().unwrap(),
        windows: Vec::new(),
    }
}

fn plan(name: &str) -> String {
    format!(
        "[[schedule]]\nname = '{name}'\ncalendar = 'daily'\nwhat = [{{ vcenter_host = 'vc', vms = ['a'] }}]\n"
    )
}

#[tokio::test]
async fn a_good_file_is_taken_up_and_one_without_a_change_wakes_nobody() {
    let place = Place::with(Some(&plan("one")));
    let mut followed = place.followed().await;
    followed.are(&["one"]).await;
    assert_eq!(followed.bandwidth.borrow_and_update().default, usual().default);
    place.put(&format!("{}[bandwidth]\ndefault = '5 MiB/s'", plan("two")));
    followed.are(&["two"]).await;
    let fast: Rate = "5 MiB/s".parse().unwrap();
    timeout(PATIENCE, followed.bandwidth.wait_for(|it| it.default == fast))
        .await
        .unwrap()
        .unwrap();
    // As most editors do it; the bandwidth is the usual one again.
    fs::write(place.dir.path().join("new"), plan("two") + "# the same").unwrap();
    fs::rename(place.dir.path().join("new"), place.path()).unwrap();
    timeout(PATIENCE, followed.bandwidth.wait_for(|it| *it == usual()))
        .await
        .unwrap()
        .unwrap();
    assert!(!followed.schedules.has_changed().unwrap());
    place.stopping.cancel();
    timeout(PATIENCE, followed.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_bad_file_is_said_with_all_problems_and_the_old_plan_stays() {
    let place = Place::with(Some(&plan("one")));
    let mut followed = place.followed().await;
    place.put(&plan("two").replace("daily", "25:00").replace("['a']", "[]"));
    let said = followed.says(|it| it.is_some()).await;
    assert!(
        said.contains("schedule.two.calendar: ") && said.contains("schedule.two.what[0].vms: "),
        "{said}"
    );
    fs::remove_file(place.path()).unwrap();
    fs::create_dir(place.path()).unwrap();
    followed
        .says(|it| matches!(it, Some(PlanFileError::Unreadable { .. })))
        .await;
    fs::remove_dir(place.path()).unwrap();
    place.put("[[schedule");
    let said = followed
        .says(|it| matches!(it, Some(PlanFileError::Wrong { .. })))
        .await;
    assert!(said.contains("line 1"), "{said}");
    assert_eq!(followed.schedules.borrow().len(), 1);
    assert!(!followed.schedules.has_changed().unwrap());
    // The file that was in force before is in force again.
    place.put(&plan("one"));
    assert_eq!(followed.says(|it| it.is_none()).await, "");
    place.put(&plan("three"));
    followed.are(&["three"]).await;
}

#[tokio::test]
async fn a_person_who_asks_is_told_the_problem_again() {
    let place = Place::with(None);
    let mut followed = place.followed().await;
    place.put("[[schedule");
    followed.says(|it| it.is_some()).await;
    followed.problem.mark_unchanged();
    followed.asked.notify_one();
    timeout(PATIENCE, followed.problem.changed())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_file_that_is_not_there_plans_nothing_and_is_waited_for_and_missed() {
    let place = Place::with(None);
    let mut followed = place.followed().await;
    followed.are(&[]).await;
    place.put(&plan("one"));
    followed.are(&["one"]).await;
    // Away for a moment only.
    fs::rename(place.path(), place.dir.path().join("backup~")).unwrap();
    place.put(&plan("two"));
    followed.are(&["two"]).await;
    fs::remove_file(place.path()).unwrap();
    followed.are(&[]).await;
    assert!(followed.problem.borrow().is_none());
}

#[tokio::test]
async fn a_bad_file_at_the_start_is_an_error_with_all_problems() {
    let place = Place::with(Some(&plan("one").replace("daily", "25:00").replace("'a'", "''")));
    let Err(error) = PlanWatch::open(&place.path(), usual()).await else {
        panic!("it was taken");
    };
    assert_eq!(error.problems().len(), 2, "{error:?}");
    assert!(error.to_string().contains("schedules.toml"));
}
