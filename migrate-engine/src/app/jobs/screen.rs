//! Where jobs are followed on: a bar for each on a terminal, plain lines in a log. Ends of jobs are results.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar};
use tokio::time::Instant;

use super::super::client::Job;
use super::super::plain::plain;
use super::super::progress::bar;
use super::super::{Form, human};
use super::words::{doing, moved, standing};
use crate::model::{JobStatus, Size};

/// How often a log gets a line of a job that goes on.
const LINE: Duration = Duration::from_secs(5);

/// Where jobs are shown.
pub(super) struct Screen {
    shown: Shown,
    /// Whether ends of jobs go to standard output: not where that is for JSON.
    form: Form,
}

enum Shown {
    Bars(MultiProgress, HashMap<String, ProgressBar>),
    Lines(HashMap<String, Line>),
}

/// The last line of a job.
struct Line {
    doing: String,
    text: String,
    at: Instant,
}

impl Screen {
    pub(super) fn new(form: Form) -> Self {
        let shown = match io::stderr().is_terminal() {
            true => Shown::Bars(MultiProgress::new(), HashMap::new()),
            false => Shown::Lines(HashMap::new()),
        };
        Self { shown, form }
    }

    /// One that goes on.
    pub(super) fn show(&mut self, job: &Job) {
        match &mut self.shown {
            Shown::Lines(lines) => {
                let before = lines.get(&job.id);
                if let Some(line) = due(before, job, Instant::now()) {
                    human::say(&line.text);
                    lines.insert(job.id.clone(), line);
                }
            }
            Shown::Bars(all, bars) => {
                let bar = bars.entry(job.id.clone()).or_insert_with(|| all.add(bar()));
                bar.set_length(job.progress.data_bytes.max(1));
                bar.set_position(job.progress.data_done_bytes);
                bar.set_message(bar_text(job));
            }
        }
    }

    /// One that has ended.
    pub(super) fn ended(&mut self, job: &Job) -> io::Result<()> {
        if let Shown::Bars(_, bars) = &mut self.shown
            && let Some(bar) = bars.remove(&job.id)
        {
            bar.finish_and_clear();
        }
        let text = last_line(job);
        let form = self.form;
        self.between(|| match form {
            Form::Text => human::tell(&text),
            Form::Json => {
                human::say(&text);
                Ok(())
            }
        })
    }

    pub(super) fn say(&self, text: &str) {
        self.between(|| human::say(text));
    }

    /// Does it while no bar is in the way.
    pub(super) fn between<T>(&self, does: impl FnOnce() -> T) -> T {
        match &self.shown {
            Shown::Bars(all, _) => all.suspend(does),
            Shown::Lines(_) => does(),
        }
    }
}

/// What stands beside a bar: a narrow terminal cuts off its end, so what matters most comes first.
fn bar_text(job: &Job) -> String {
    let text = format!(
        "{}: {}, {}, {}",
        job.vm_name,
        moved(job),
        standing(job),
        doing(job)
    );
    plain(&text)
}

/// A line where something else is done than before, or where the last one is long ago.
fn due(before: Option<&Line>, job: &Job, now: Instant) -> Option<Line> {
    let doing = plain(&format!("{}, {}", standing(job), doing(job)));
    let line = Line {
        text: plain(&format!("{} {}: {doing}, {}", job.id, job.vm_name, moved(job))),
        doing,
        at: now,
    };
    match before {
        Some(last) if last.doing == line.doing && now - last.at < LINE => None,
        Some(last) if last.text == line.text => None,
        _ => Some(line),
    }
}

/// How it ended, and what to do where it did not end well.
fn last_line(job: &Job) -> String {
    let name = plain(&format!("{}  {}", job.id, job.vm_name));
    match (job.status, &job.error) {
        (JobStatus::Completed, _) => {
            let written = job.disks.iter().filter_map(|disk| disk.written_bytes).sum();
            let disks = match job.disks.len() {
                1 => "1 disk".to_owned(),
                number => format!("{number} disks"),
            };
            format!("{name}  completed: {disks}, {} written", Size(written))
        }
        (status, Some(error)) => {
            let text = format!("{name}  {}: {}", status.as_str(), plain(&error.message));
            let hint = error
                .hint
                .as_deref()
                .map(|hint| format!("\n    hint: {}", plain(hint)));
            text + &hint.unwrap_or_default()
        }
        (status, None) => format!("{name}  {}", status.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::client::testing::job;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_log_gets_a_line_for_what_is_new_and_now_and_then() {
        let at = |bytes: u64| job(|it| it["progress"]["data_done_bytes"] = bytes.into());
        let first = due(None, &at(0), Instant::now()).unwrap();
        assert!(
            first.text.contains("DiskTransfer, 0 bytes of 0 bytes"),
            "{}",
            first.text
        );
        assert!(due(Some(&first), &at(7), Instant::now()).is_none());
        tokio::time::advance(LINE).await;
        assert!(
            due(Some(&first), &at(0), Instant::now()).is_none(),
            "nothing is new"
        );
        let second = due(Some(&first), &at(7), Instant::now()).unwrap();
        let stopping = job(|it| it["cancel_requested"] = true.into());
        assert!(due(Some(&second), &stopping, Instant::now()).is_some());
    }

    #[test]
    fn beside_a_bar_the_numbers_come_before_the_step() {
        let text = bar_text(&job(|_| {}));
        assert!(
            text.starts_with("web: 0 bytes of 0 bytes") && text.contains("DiskTransfer"),
            "{text}"
        );
    }

    #[test]
    fn an_end_says_how_and_what_to_do() {
        let failed = job(|it| {
            it["status"] = "failed".into();
            it["error"] = serde_json::json!({"code": "x", "message": "gone\u{7}", "hint": "look"});
        });
        let expected = "job-20261130-200000  web  failed: gone?\n    hint: look";
        assert_eq!(last_line(&failed), expected);
        let cancelled = job(|it| it["status"] = "cancelled".into());
        assert_eq!(last_line(&cancelled), "job-20261130-200000  web  cancelled");
        let done = job(|it| it["status"] = "completed".into());
        assert!(last_line(&done).ends_with("completed: 0 disks, 0 bytes written"));
    }
}
