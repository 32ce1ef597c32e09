//! What a key or a session allows, and what each path needs.

use std::fmt;
use std::str::FromStr;

use hyper::Method;

/// One thing that may be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// To read photos, albums, batches and uploads, and what is used.
    PhotosRead,
    /// To upload, change and delete them.
    PhotosWrite,
    /// To read people, posts, feeds and events.
    FeedRead,
    /// To publish, like, comment, follow and block.
    FeedWrite,
    /// To read conversations.
    MessagesRead,
    /// To write to people.
    MessagesWrite,
    /// To register people, where not everybody may register by themselves.
    UsersWrite,
    /// To act for another user, whom the request names.
    ActAs,
    /// Everything, also what is the operator's.
    Admin,
}

impl Scope {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::PhotosRead,
        Self::PhotosWrite,
        Self::FeedRead,
        Self::FeedWrite,
        Self::MessagesRead,
        Self::MessagesWrite,
        Self::UsersWrite,
        Self::ActAs,
        Self::Admin,
    ];

    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PhotosRead => "photos:read",
            Self::PhotosWrite => "photos:write",
            Self::FeedRead => "feed:read",
            Self::FeedWrite => "feed:write",
            Self::MessagesRead => "messages:read",
            Self::MessagesWrite => "messages:write",
            Self::UsersWrite => "users:write",
            Self::ActAs => "users:act-as",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|scope| scope.as_str()).collect();
            format!("{text:?} is no scope: the scopes are {}", known.join(", "))
        })
    }
}

/// What somebody is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u16);

impl Scopes {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// Everything, also what is the operator's.
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// What users may do who have signed in.
    pub fn of_users() -> Self {
        use Scope::{FeedRead, FeedWrite, MessagesRead, MessagesWrite, PhotosRead, PhotosWrite};
        [PhotosRead, PhotosWrite, FeedRead, FeedWrite, MessagesRead, MessagesWrite].into_iter().collect()
    }

    /// What those may do of whom nothing is known: to read what is public.
    pub fn of_signed_out() -> Self {
        [Scope::PhotosRead, Scope::FeedRead].into_iter().collect()
    }

    /// Those of a record. Words that are not known allow nothing: a newer daemon may have written them.
    pub fn of_words(words: &[String]) -> Self {
        words.iter().filter_map(|word| word.parse().ok()).collect()
    }

    /// Whether this is allowed. Whoever may do everything may do this.
    pub fn allow(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

/// What a path needs; nothing where everybody may ask, or where its handler looks by itself.
pub fn needed(method: &Method, segments: &[&str]) -> Option<Scope> {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let either = |read, write| Some(if reads { read } else { write });
    match segments {
        // Registration asks for more only where the configuration says so; signing in is for those who have nothing yet.
        ["v1", "users"] if !reads => None,
        ["v1", "sessions" | "hooks", ..] | ["openapi.json"] | [".well-known", ..] => None,
        ["v1", "admin" | "api-keys", ..] => Some(Scope::Admin),
        ["v1", "users", _, "photos", ..] => either(Scope::PhotosRead, Scope::PhotosWrite),
        ["v1", "photos" | "uploads" | "batches" | "direct-uploads" | "albums" | "usage", ..] => {
            either(Scope::PhotosRead, Scope::PhotosWrite)
        }
        ["v1", "conversations", ..] => either(Scope::MessagesRead, Scope::MessagesWrite),
        ["v1", ..] => either(Scope::FeedRead, Scope::FeedWrite),
        _ => None,
    }
}

/// Whether somebody must be signed in for a path that is read: all but what may be public.
pub fn needs_somebody(method: &Method, segments: &[&str]) -> bool {
    let may_be_public = match segments {
        ["v1", "users", "me", ..] => false,
        ["v1", "users", ..] | ["v1", "photos" | "posts" | "albums" | "tags" | "trending", _, ..] => true,
        _ => needed(method, segments).is_none() || *method == Method::OPTIONS,
    };
    !may_be_public
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_survive_their_words_and_unknown_words_allow_nothing() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
        }
        let scopes = Scopes::of_words(&["photos:read".to_owned(), "of-the-future".to_owned()]);
        assert!(scopes.allow(Scope::PhotosRead));
        assert!(Scope::ALL[1..].iter().all(|scope| !scopes.allow(*scope)));
        assert!("photos".parse::<Scope>().unwrap_err().contains("photos:write"));
    }

    #[test]
    fn an_administrator_may_do_everything_and_a_user_nothing_of_theirs() {
        let admin: Scopes = [Scope::Admin].into_iter().collect();
        assert!(Scope::ALL.iter().all(|scope| admin.allow(*scope)));
        for scope in [Scope::Admin, Scope::ActAs, Scope::UsersWrite] {
            assert!(!Scopes::of_users().allow(scope) && !Scopes::of_signed_out().allow(scope));
        }
        assert!(!Scopes::of_signed_out().allow(Scope::FeedWrite));
    }

    #[test]
    fn nobody_reads_what_cannot_be_public() {
        let needs = |method: Method, path: &str| {
            let segments: Vec<_> = path.split('/').skip(1).collect();
            needs_somebody(&method, &segments)
        };
        for path in ["/v1/photos", "/v1/feed", "/v1/users/me", "/v1/usage", "/v1/batches/1", "/v1/events"] {
            assert!(needs(Method::GET, path), "{path}");
        }
        for path in ["/v1/photos/1", "/v1/posts/1/comments", "/v1/users/1/posts", "/v1/trending/tags"] {
            assert!(!needs(Method::GET, path), "{path}");
        }
        assert!(!needs(Method::POST, "/v1/sessions") && !needs(Method::GET, "/openapi.json"));
        assert!(!needs(Method::OPTIONS, "/v1/uploads"));
    }

    #[test]
    fn each_path_needs_what_it_does() {
        let needs = |method: Method, path: &str| {
            let segments: Vec<_> = path.split('/').skip(1).collect();
            needed(&method, &segments)
        };
        for (method, path, scope) in [
            (Method::GET, "/v1/photos/1/original", Some(Scope::PhotosRead)),
            (Method::PATCH, "/v1/uploads/1", Some(Scope::PhotosWrite)),
            (Method::GET, "/v1/users/1/photos", Some(Scope::PhotosRead)),
            (Method::PUT, "/v1/users/1/follow", Some(Scope::FeedWrite)),
            (Method::GET, "/v1/feed", Some(Scope::FeedRead)),
            (Method::POST, "/v1/conversations", Some(Scope::MessagesWrite)),
            (Method::GET, "/v1/admin/jobs", Some(Scope::Admin)),
            (Method::DELETE, "/v1/api-keys/1", Some(Scope::Admin)),
            (Method::POST, "/v1/users", None),
            (Method::POST, "/v1/sessions", None),
            (Method::DELETE, "/v1/sessions/current", None),
            (Method::POST, "/v1/hooks/s3", None),
            (Method::GET, "/openapi.json", None),
        ] {
            assert_eq!(needs(method.clone(), path), scope, "{method} {path}");
        }
    }
}
