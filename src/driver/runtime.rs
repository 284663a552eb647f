//! Tasks and timers: tokio's, or the browser's under the same names. What is above this line is the same in both.

#[cfg(not(target_family = "wasm"))]
pub(crate) use tokio::{
    runtime::Handle,
    task::{JoinHandle, JoinSet, spawn, spawn_blocking, unconstrained},
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};

#[cfg(target_family = "wasm")]
pub(crate) use browser::{Handle, unconstrained};
#[cfg(target_family = "wasm")]
pub(crate) use n0_future::{
    task::{JoinHandle, JoinSet, spawn},
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};

#[cfg(target_family = "wasm")]
mod browser {
    use super::{JoinHandle, spawn};

    /// The one thread there is.
    #[derive(Debug, Clone)]
    pub(crate) struct Handle;

    impl Handle {
        pub(crate) fn current() -> Self {
            Self
        }

        pub(crate) fn spawn<T: 'static>(&self, task: impl Future<Output = T> + 'static) -> JoinHandle<T> {
            spawn(task)
        }
    }

    /// Tasks have no budget here.
    pub(crate) fn unconstrained<F>(task: F) -> F {
        task
    }
}
