//! The one thread that starts all children, and what each child does to itself before it becomes the tool.
#![allow(unsafe_code)] // `pre_exec` is unsafe by nature: its closure runs between fork and exec

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc;

use rustix::process::{Pid, Resource, Rlimit, Signal};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::child::OwnedChild;
use super::command::Limits;

struct Request {
    command: tokio::process::Command,
    runtime: Handle,
    answer: oneshot::Sender<io::Result<OwnedChild>>,
}

/// Starts `command` on the spawner thread. The child is killed when the returned handle is dropped.
pub(super) async fn spawn(mut command: tokio::process::Command, limits: Limits) -> io::Result<OwnedChild> {
    prepare(&mut command, limits);
    let (answer, started) = oneshot::channel();
    let request = Request {
        command,
        runtime: Handle::current(),
        answer,
    };
    spawner()?
        .send(request)
        .map_err(|_| io::Error::other("the thread that starts children has ended"))?;
    started
        .await
        .map_err(|_| io::Error::other("the thread that starts children has ended"))?
}

/// The way to the spawner thread, which is started on first use and never ends.
fn spawner() -> io::Result<&'static mpsc::Sender<Request>> {
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    if let Some(spawner) = SPAWNER.get() {
        return Ok(spawner);
    }
    let (requests, queue) = mpsc::channel::<Request>();
    std::thread::Builder::new()
        .name("child-spawner".to_owned())
        .spawn(move || serve(&queue))?;
    // A thread that lost this race sees its queue closed and ends; it has started no child.
    Ok(SPAWNER.get_or_init(|| requests))
}

fn serve(queue: &mpsc::Receiver<Request>) {
    while let Ok(Request {
        mut command,
        runtime,
        answer,
    }) = queue.recv()
    {
        let _in_runtime = runtime.enter();
        // Where nobody waits any more, the child comes back here and dies by its kill-on-drop.
        let child = command
            .spawn()
            .map(|child| OwnedChild::new(child, runtime.clone()));
        drop(answer.send(child));
    }
}

/// Ties the child's life to ours and sets its limits.
fn prepare(command: &mut tokio::process::Command, limits: Limits) {
    let parent = rustix::process::getpid();
    command.kill_on_drop(true).process_group(0);
    // SAFETY: the closure runs in the forked child and makes direct system calls only (prctl, getppid, setrlimit):
    // it takes no lock, allocates nothing and touches no memory shared with the parent.
    unsafe {
        command.pre_exec(move || become_child_of(parent, limits));
    }
}

fn become_child_of(parent: Pid, limits: Limits) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(parent) {
        // We died between fork and prctl: nobody is left to tell.
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    set(Resource::Core, Some(0))?;
    set(Resource::As, limits.address_space)?;
    set(Resource::Cpu, limits.cpu_seconds)
}

fn set(resource: Resource, limit: Option<u64>) -> io::Result<()> {
    let Some(limit) = limit else { return Ok(()) };
    rustix::process::setrlimit(
        resource,
        Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        },
    )?;
    Ok(())
}
