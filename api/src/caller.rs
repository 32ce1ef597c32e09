//! Who asks.

use std::net::{IpAddr, SocketAddr};

use darkroom_store::model::visibility::Viewer;
use darkroom_store::model::{ApiKeyId, OwnerId, SessionId, UserId};

use crate::auth::scopes::Scopes;
use crate::problem::Problem;

/// Who sends a request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose photos these are. Nobody's, where nobody is signed in: routes that need somebody ask [`Caller::user`] first.
    pub owner: OwnerId,
    /// With whom it shares what is to be shared fairly.
    pub client: ClientKey,
    /// For whom it asks.
    pub viewer: Viewer,
    /// What it may do.
    pub scopes: Scopes,
    /// By what it is known.
    pub credential: Credential,
}

/// By what a caller is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// By nothing: it is on the operator's socket, or everybody may do everything, or it is nobody.
    None,
    /// By an access token of this session.
    Session(SessionId),
    /// By an API key.
    Key(ApiKeyId),
    /// By a token of an identity provider.
    Outside,
}

impl Caller {
    /// On behalf of a user, who may do everything.
    pub fn of(user: UserId, client: ClientKey) -> Self {
        Self {
            owner: OwnerId::of(user),
            client,
            viewer: Viewer::User(user),
            scopes: Scopes::all(),
            credential: Credential::None,
        }
    }

    /// Nobody that is known.
    pub fn signed_out(client: ClientKey) -> Self {
        Self {
            owner: OwnerId::nobody(),
            client,
            viewer: Viewer::SignedOut,
            scopes: Scopes::of_signed_out(),
            credential: Credential::None,
        }
    }

    /// On behalf of a record's owner.
    pub fn of_owner(owner: OwnerId, client: ClientKey) -> Self {
        let viewer = owner.user().map_or(Viewer::SignedOut, Viewer::User);
        Self { owner, viewer, ..Self::of(UserId::OPEN, client) }
    }

    /// The user on whose behalf this is asked.
    ///
    /// # Errors
    /// `unauthenticated`, where nobody is signed in.
    pub fn user(&self) -> Result<UserId, Problem> {
        self.viewer.user().ok_or_else(|| {
            let detail = "this needs somebody who is signed in: send `Authorization: Bearer` with an access token of \
                          POST /v1/sessions, or with an API key";
            Problem::new("unauthenticated", detail)
        })
    }
}

/// One client, as far as it can be told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientKey {
    /// A process of this machine, on the daemon's socket.
    Local,
    /// An address of IPv4, or the 64 bits of one of IPv6 by which networks are handed out: whoever has one such network has
    /// all of its addresses.
    Network(IpAddr),
}

impl ClientKey {
    /// The client behind a connection's other end.
    pub fn of(peer: SocketAddr) -> Self {
        Self::Network(match peer.ip().to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_is_one_client() {
        let client = |peer: &str| ClientKey::of(peer.parse().unwrap());
        assert_eq!(client("10.0.0.1:1"), client("10.0.0.1:2"));
        assert_eq!(client("10.0.0.1:1"), client("[::ffff:10.0.0.1]:1"));
        assert_ne!(client("10.0.0.1:1"), client("10.0.0.2:1"));
        assert_eq!(client("[2001:db8:1:2::1]:1"), client("[2001:db8:1:2:ffff::9]:1"));
        assert_ne!(client("[2001:db8:1:2::1]:1"), client("[2001:db8:1:3::1]:1"));
    }
}
