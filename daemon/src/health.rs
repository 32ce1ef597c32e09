//! Health and metrics on a listener of their own, with a thread and runtime of their own: answered however
//! busy the main runtime is.

use std::net::SocketAddr;
use std::thread;

use anyhow::Context;
use darkroom_api::Api;
use darkroom_api::serve::Listener;
use tokio_util::sync::CancellationToken;

use crate::listen::Reserved;

/// Starts to answer on the address that is reserved; ends with the process. Returns where it listens.
pub(crate) fn start(api: Api, reserved: Reserved) -> anyhow::Result<SocketAddr> {
    let listener = reserved.listen()?.into_std().context("could not set up the health listener")?;
    let bound = listener.local_addr().context("could not set up the health listener")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the runtime of the health listener")?;
    thread::Builder::new()
        .name("health".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => {
                        let api = api.health_only();
                        darkroom_api::serve(api, Listener::Tcp(listener), CancellationToken::new()).await;
                    }
                    Err(error) => tracing::error!(%error, "the health listener could not be set up"),
                }
            });
        })
        .context("could not start the thread of the health listener")?;
    Ok(bound)
}
