//! Waiting for a task of the vCenter: woken by its updates, decided by its state.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::properties::{Object, Of, Select};
use super::reference::Reference;
use super::soap::{Call, Element, Fault, Xml};
use super::{Session, VsphereError};

/// So long a host may keep an update to itself; then the state is looked at all the same.
const LISTEN: Duration = Duration::from_secs(15);
/// Added for the way, and for slow hosts.
const GRACE: Duration = Duration::from_secs(15);
/// Where a host gives no updates, its state is looked at as often.
const LOOK: Duration = Duration::from_secs(2);

/// What a task came to.
#[derive(Debug)]
pub(super) enum State {
    /// It has not ended.
    Running,
    /// It did what it was to do; with the result, where it has one.
    Done(Option<Reference>),
    /// It did not.
    Failed(Fault),
}

impl Session {
    /// Waits until `task` ended, for `patience` at most. May be repeated, also for a task that ended; and by another
    /// session, as long as the vCenter remembers the task (ten minutes or more after its end).
    ///
    /// # Errors
    /// [`VsphereError::TaskFailed`] when it failed, [`VsphereError::TaskUnknown`] when it has not ended: it goes on.
    pub async fn wait(
        &self,
        task: &Reference,
        what: &'static str,
        patience: Duration,
    ) -> Result<Option<Reference>, VsphereError> {
        let deadline = Instant::now() + patience;
        let mut ear = None;
        let waited = timeout_at(deadline, self.ended(task, &mut ear)).await;
        self.close(ear).await;
        let endpoint = self.endpoint().to_string();
        let task = task.id.clone();
        match waited {
            Ok(Ok(Ok(result))) => Ok(result),
            Ok(Ok(Err(fault))) => Err(VsphereError::TaskFailed {
                endpoint,
                what,
                task,
                fault,
            }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(VsphereError::TaskUnknown {
                endpoint,
                what,
                task,
                waited: patience,
            }),
        }
    }

    /// Starts what `call` asks for and waits for its end.
    pub(super) async fn run(
        &self,
        call: &Call,
        what: &'static str,
    ) -> Result<Option<Reference>, VsphereError> {
        let response = self.call(call).await?;
        let task = response.child("returnval").and_then(Reference::of);
        let task = task.ok_or_else(|| self.lacks(call.method, "task"))?;
        self.wait(&task, what, self.patience().task).await
    }

    async fn ended(
        &self,
        task: &Reference,
        ear: &mut Option<Ear>,
    ) -> Result<Result<Option<Reference>, Fault>, VsphereError> {
        loop {
            match self.state(task).await? {
                State::Running => {}
                State::Done(result) => return Ok(Ok(result)),
                State::Failed(fault) => return Ok(Err(fault)),
            }
            if let Err(error) = self.listen(ear, task).await {
                // The session was renewed, or the host gives no updates. The state is what counts.
                debug!(endpoint = %self.endpoint(), %error, task = task.id, "no updates");
                self.close(ear.take()).await;
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    async fn state(&self, task: &Reference) -> Result<State, VsphereError> {
        let select = Select::new("Task", &["info.state", "info.result", "info.error"]);
        let objects = self
            .retrieve(Of::These(std::slice::from_ref(task)), vec![select])
            .await?;
        let object = objects.first();
        object
            .and_then(state)
            .ok_or_else(|| self.lacks("RetrievePropertiesEx", "state of the task"))
    }

    /// Returns when something happened to the task, and now and then without that.
    async fn listen(&self, ear: &mut Option<Ear>, task: &Reference) -> Result<(), VsphereError> {
        let listening = match ear {
            Some(listening) => listening,
            None => ear.insert(self.ear(task).await?),
        };
        let options = Xml::new().text("maxWaitSeconds", &LISTEN.as_secs().to_string());
        let arguments = Xml::new()
            .text("version", &listening.version)
            .nest("options", options);
        let call = Call::reading("WaitForUpdatesEx", &listening.collector, arguments);
        let response = self.call_within(&call, LISTEN + GRACE).await?;
        if let Some(version) = response.at(&["returnval", "version"]).and_then(Element::trimmed) {
            version.clone_into(&mut listening.version);
        }
        Ok(())
    }

    /// A collector of our own: updates of the session's own one would be shared by all who wait.
    async fn ear(&self, task: &Reference) -> Result<Ear, VsphereError> {
        const METHOD: &str = "CreatePropertyCollector";
        let call = Call::changing(METHOD, &self.content().property_collector, Xml::new());
        let response = self.call(&call).await?;
        let collector = response.child("returnval").and_then(Reference::of);
        let collector = collector.ok_or_else(|| self.lacks(METHOD, "collector"))?;
        let properties = Xml::new()
            .text("type", "Task")
            .text("all", "false")
            .text("pathSet", "info.state");
        let object = Xml::new().reference("obj", task).text("skip", "false");
        let spec = Xml::new().nest("propSet", properties).nest("objectSet", object);
        let arguments = Xml::new().nest("spec", spec).text("partialUpdates", "false");
        let filter = Call::changing("CreateFilter", &collector, arguments);
        let ear = Ear {
            collector,
            version: String::new(),
        };
        match self.call(&filter).await {
            Ok(_) => Ok(ear),
            Err(error) => {
                self.close(Some(ear)).await;
                Err(error)
            }
        }
    }

    /// With the collector goes its filter. One that cannot be closed goes with the session.
    async fn close(&self, ear: Option<Ear>) {
        let Some(ear) = ear else { return };
        let call = Call::changing("DestroyPropertyCollector", &ear.collector, Xml::new());
        if let Err(error) = self.call(&call).await {
            debug!(endpoint = %self.endpoint(), %error, "a collector could not be closed");
        }
    }
}

/// What listens to one task.
struct Ear {
    collector: Reference,
    version: String,
}

/// The state of a task by its properties.
pub(super) fn state(object: &Object) -> Option<State> {
    match object.text("info.state")? {
        "success" => Some(State::Done(object.reference("info.result"))),
        "error" => {
            let unknown = Element::default();
            let error = object.get("info.error").unwrap_or(&unknown);
            Some(State::Failed(Fault::of_task(error)))
        }
        _ => Some(State::Running),
    }
}
