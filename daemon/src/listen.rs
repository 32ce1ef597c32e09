//! Addresses to listen on.
//!
//! An address is reserved before the stores are opened, so that one that is taken is told at once, and listened on when
//! requests can be answered: until then clients are refused rather than kept waiting.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// Connections that the kernel keeps until they are accepted, as tokio's own listeners have it.
const BACKLOG: u32 = 1024;

/// An address that is ours, on which nobody is answered yet.
pub(crate) struct Reserved {
    socket: TcpSocket,
    address: SocketAddr,
    key: &'static str,
}

impl Reserved {
    /// Takes `address`, which is said by `key` of the configuration.
    pub(crate) fn new(address: SocketAddr, key: &'static str) -> anyhow::Result<Self> {
        let bind = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            // So that a daemon that is started again need not wait for connections of the earlier one to time out.
            socket.set_reuseaddr(true)?;
            socket.bind(address).map(|()| socket)
        };
        match bind() {
            Ok(socket) => Ok(Self { socket, address, key }),
            Err(error) => Err(refused(address, key, error)),
        }
    }

    /// Begins to take connections.
    pub(crate) fn listen(self) -> anyhow::Result<TcpListener> {
        self.socket.listen(BACKLOG).map_err(|error| refused(self.address, self.key, error))
    }
}

fn refused(address: SocketAddr, key: &str, error: io::Error) -> anyhow::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there already, perhaps another darkroomd; stop it, or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address; choose one of its own, such as 127.0.0.1"
        }
        io::ErrorKind::PermissionDenied => "this user may not have that port; choose one from 1024 on",
        _ => "choose another address",
    };
    anyhow::Error::new(error).context(format!("could not listen on {address} ({key}): {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_is_taken_is_refused_with_its_key_before_anything_is_opened() {
        let taken = Reserved::new(([127, 0, 0, 1], 0).into(), "server.listen").unwrap().listen().unwrap();
        let address = taken.local_addr().unwrap();
        let error = Reserved::new(address, "server.health_listen").err().unwrap().to_string();
        let parts = [address.to_string(), "server.health_listen".to_owned(), "another port".to_owned()];
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused_as_such() {
        // Of a block that is kept for documentation (RFC 5737).
        let error = Reserved::new(([192, 0, 2, 1], 8080).into(), "server.health_listen").err().unwrap();
        assert!(error.to_string().contains("does not have that address"), "{error:#}");
    }
}
