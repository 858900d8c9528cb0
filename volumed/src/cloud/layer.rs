//! A wrapper around a provider: one place that passes every method through, so that a layer is one function.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::{Call, Capabilities, Cloud, CloudError, Fate, NewVolume, ProviderSnapshot, ProviderVolume};
use crate::model::{Bytes, Check};

/// The methods of [`Cloud`] that go out to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// [`Cloud::own_vm`]
    OwnVm,
    /// [`Cloud::volume`]
    Volume,
    /// [`Cloud::volumes_named`]
    VolumesNamed,
    /// [`Cloud::volumes`]
    Volumes,
    /// [`Cloud::create_volume`]
    CreateVolume,
    /// [`Cloud::attach`]
    Attach,
    /// [`Cloud::detach`]
    Detach,
    /// [`Cloud::resize`]
    Resize,
    /// [`Cloud::delete_volume`]
    DeleteVolume,
    /// [`Cloud::snapshots`]
    Snapshots,
    /// [`Cloud::create_snapshot`]
    CreateSnapshot,
    /// [`Cloud::revert_to_snapshot`]
    RevertToSnapshot,
    /// [`Cloud::delete_snapshot`]
    DeleteSnapshot,
    /// [`Cloud::fate`]
    Fate,
}

impl Method {
    /// The method's name: a closed set, fit for a metrics label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Method::OwnVm => "own_vm",
            Method::Volume => "volume",
            Method::VolumesNamed => "volumes_named",
            Method::Volumes => "volumes",
            Method::CreateVolume => "create_volume",
            Method::Attach => "attach",
            Method::Detach => "detach",
            Method::Resize => "resize",
            Method::DeleteVolume => "delete_volume",
            Method::Snapshots => "snapshots",
            Method::CreateSnapshot => "create_snapshot",
            Method::RevertToSnapshot => "revert_to_snapshot",
            Method::DeleteSnapshot => "delete_snapshot",
            Method::Fate => "fate",
        }
    }

    /// Whether it only asks.
    #[must_use]
    pub fn is_read(self) -> bool {
        matches!(
            self,
            Method::OwnVm
                | Method::Volume
                | Method::VolumesNamed
                | Method::Volumes
                | Method::Snapshots
                | Method::Fate
        )
    }
}

/// One call that can be made any number of times, each time with the same arguments.
pub type Attempt<'a, T> = Box<dyn Fn() -> BoxFuture<'a, Result<T, CloudError>> + Send + Sync + 'a>;

/// What a wrapper does around each call.
pub trait Layer: Send + Sync + 'static {
    /// Makes the call by way of `attempt`, as often as it sees fit, and answers for it.
    fn around<'a, T: Send + 'a>(
        &'a self,
        method: Method,
        attempt: Attempt<'a, T>,
    ) -> impl Future<Output = Result<T, CloudError>> + Send + 'a;
}

/// A provider with a layer around it: a provider again.
#[derive(Clone)]
pub struct Layered<L> {
    layer: L,
    inner: Arc<dyn Cloud>,
}

impl<L: Layer> Layered<L> {
    /// Puts `layer` around `inner`.
    pub fn new(layer: L, inner: Arc<dyn Cloud>) -> Layered<L> {
        Layered { layer, inner }
    }
}

#[async_trait]
impl<L: Layer> Cloud for Layered<L> {
    fn provider(&self) -> &'static str {
        self.inner.provider()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn own_vm(&self) -> Result<String, CloudError> {
        self.layer
            .around(Method::OwnVm, Box::new(|| self.inner.own_vm()))
            .await
    }

    async fn volume(&self, provider_ref: &str) -> Result<Option<ProviderVolume>, CloudError> {
        self.layer
            .around(Method::Volume, Box::new(|| self.inner.volume(provider_ref)))
            .await
    }

    async fn volumes_named(&self, name: &str) -> Result<Vec<ProviderVolume>, CloudError> {
        self.layer
            .around(Method::VolumesNamed, Box::new(|| self.inner.volumes_named(name)))
            .await
    }

    async fn volumes(&self) -> Result<Vec<ProviderVolume>, CloudError> {
        self.layer
            .around(Method::Volumes, Box::new(|| self.inner.volumes()))
            .await
    }

    async fn create_volume(&self, call: &Call, spec: &NewVolume) -> Result<ProviderVolume, CloudError> {
        self.layer
            .around(
                Method::CreateVolume,
                Box::new(|| self.inner.create_volume(call, spec)),
            )
            .await
    }

    async fn attach(&self, call: &Call, provider_ref: &str, vm: &str) -> Result<(), CloudError> {
        self.layer
            .around(
                Method::Attach,
                Box::new(|| self.inner.attach(call, provider_ref, vm)),
            )
            .await
    }

    async fn detach(&self, call: &Call, provider_ref: &str, vm: &str) -> Result<(), CloudError> {
        self.layer
            .around(
                Method::Detach,
                Box::new(|| self.inner.detach(call, provider_ref, vm)),
            )
            .await
    }

    async fn resize(&self, call: &Call, provider_ref: &str, size: Bytes) -> Result<(), CloudError> {
        self.layer
            .around(
                Method::Resize,
                Box::new(|| self.inner.resize(call, provider_ref, size)),
            )
            .await
    }

    async fn delete_volume(&self, call: &Call, provider_ref: &str) -> Result<(), CloudError> {
        self.layer
            .around(
                Method::DeleteVolume,
                Box::new(|| self.inner.delete_volume(call, provider_ref)),
            )
            .await
    }

    async fn snapshots(&self, provider_ref: &str) -> Result<Vec<ProviderSnapshot>, CloudError> {
        self.layer
            .around(Method::Snapshots, Box::new(|| self.inner.snapshots(provider_ref)))
            .await
    }

    async fn create_snapshot(
        &self,
        call: &Call,
        provider_ref: &str,
        name: &str,
    ) -> Result<ProviderSnapshot, CloudError> {
        let attempt = || self.inner.create_snapshot(call, provider_ref, name);
        self.layer.around(Method::CreateSnapshot, Box::new(attempt)).await
    }

    async fn revert_to_snapshot(
        &self,
        call: &Call,
        provider_ref: &str,
        snapshot_ref: &str,
    ) -> Result<(), CloudError> {
        let attempt = || self.inner.revert_to_snapshot(call, provider_ref, snapshot_ref);
        self.layer
            .around(Method::RevertToSnapshot, Box::new(attempt))
            .await
    }

    async fn delete_snapshot(
        &self,
        call: &Call,
        provider_ref: &str,
        snapshot_ref: &str,
    ) -> Result<(), CloudError> {
        let attempt = || self.inner.delete_snapshot(call, provider_ref, snapshot_ref);
        self.layer.around(Method::DeleteSnapshot, Box::new(attempt)).await
    }

    async fn fate(&self, call: &Call, provider_ref: Option<&str>) -> Result<Fate, CloudError> {
        let attempt = || self.inner.fate(call, provider_ref);
        self.layer.around(Method::Fate, Box::new(attempt)).await
    }

    fn nudge(&self) {
        self.inner.nudge();
    }

    /// Not repeated and not counted: it tells how things are, also that they are bad.
    async fn diagnose(&self) -> Vec<Check> {
        self.inner.diagnose().await
    }
}
