use std::time::Duration;

use darkroom_store::metadata::{EmbeddedOptions, Metadata};
use darkroom_store::model::changes::{self, Change, What};
use darkroom_store::model::follows::{self, Act};
use darkroom_store::model::posts::{self, Creation, Post, State};
use darkroom_store::model::users::{self, User};
use darkroom_store::model::visibility::Visibility;
use darkroom_store::model::{OwnerId, PhotoId, PostId, Timestamp, UserId};
use tokio::task::AbortHandle;

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

struct House {
    metadata: Metadata,
    hub: Hub,
    following: AbortHandle,
    _folder: tempfile::TempDir,
}

impl Drop for House {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let metadata = Metadata::open_embedded(folder.path(), EmbeddedOptions::default()).await.unwrap();
        let hub = Hub::new(metadata.clone());
        let following = tokio::spawn(hub.clone().run()).abort_handle();
        Self { metadata, hub, following, _folder: folder }
    }

    async fn user(&self, name: &str) -> UserId {
        let user = &User { id: UserId::new(), name: name.to_owned(), ..User::open() };
        let create = |tx| async move { users::create(&tx, user).await };
        self.metadata.transact("create", create).await.unwrap().unwrap().id
    }

    async fn follow(&self, by: UserId, to: UserId) {
        let act = &Act { by, to, now: NOW, history: 0 };
        let follow = |tx| async move { follows::follow(&tx, act, 100).await };
        self.metadata.transact("follow", follow).await.unwrap();
    }

    async fn post(&self, author: UserId, visibility: Visibility) -> PostId {
        let post = Post {
            id: PostId::new(),
            author,
            state: State::Waiting,
            visibility,
            photos: Vec::new(),
            shared: None,
            caption: String::new(),
            tags: Vec::new(),
            mentions: Vec::new(),
            was_shown: false,
            created: NOW,
            published: None,
            edited: None,
        };
        let creation = &Creation { post, history: 0 };
        let create = |tx| async move { posts::create(&tx, creation).await };
        self.metadata.transact("post", create).await.unwrap();
        creation.post.id
    }

    /// A photo of the user is ready.
    async fn ready(&self, owner: UserId) -> PhotoId {
        let photo = PhotoId::new();
        let what = What::PhotoReady { photo, owner: Some(OwnerId::of(owner)) };
        let change = &Change { at: NOW, what };
        let append = |tx| async move { changes::append(&tx, 0, change) };
        self.metadata.transact("ready", append).await.unwrap();
        photo
    }

    async fn subscribe(&self, user: UserId, after: Option<Cursor>) -> Subscription {
        Subscription::begin(&self.hub, user, after).await.unwrap()
    }
}

/// The next event; panics where there is something else.
async fn event(subscription: &mut Subscription) -> Event {
    match subscription.next(PATIENCE).await.unwrap().unwrap() {
        Next::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

/// The photo whose being ready is told next.
async fn photo(subscription: &mut Subscription) -> PhotoId {
    match &event(subscription).await.change.what {
        What::PhotoReady { photo, .. } => *photo,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_is_told_what_concerns_them_and_nothing_else() {
    let house = House::new().await;
    let (ann, bob) = (house.user("Ann").await, house.user("Bob").await);
    let (mut to_ann, mut to_bob) = (house.subscribe(ann, None).await, house.subscribe(bob, None).await);
    let of_ann = house.ready(ann).await;
    let of_bob = house.ready(bob).await;
    house.follow(ann, bob).await;
    assert_eq!(photo(&mut to_ann).await, of_ann);
    assert_eq!(photo(&mut to_bob).await, of_bob);
    let followed = event(&mut to_bob).await;
    assert_eq!(followed.change.what, What::UserFollowed { user: bob, by: ann });
    // Ann is told nothing of what she did herself.
    let last = house.ready(ann).await;
    assert_eq!(photo(&mut to_ann).await, last);
}

#[tokio::test]
async fn a_post_is_told_to_its_author_and_to_followers_who_may_see_it() {
    let house = House::new().await;
    let ann = house.user("Ann").await;
    let (follower, stranger) = (house.user("Fay").await, house.user("Sam").await);
    house.follow(follower, ann).await;
    let mut all = Vec::new();
    for user in [ann, follower, stranger] {
        all.push(house.subscribe(user, None).await);
    }
    let hidden = house.post(ann, Visibility::Private).await;
    let shown = house.post(ann, Visibility::Followers).await;
    let told = async |subscription: &mut Subscription, user| {
        let last = house.ready(user).await;
        let mut posts = Vec::new();
        loop {
            match &event(subscription).await.change.what {
                What::PostPublished { post, .. } => posts.push(*post),
                What::PhotoReady { photo, .. } if *photo == last => {}
                other => panic!("{other:?}"),
            }
            // The shards of the photo and of the posts are read by themselves: what is missing comes.
            if posts.len() == [2, 1, 0][usize::from(user != ann) + usize::from(user == stranger)] {
                return posts;
            }
        }
    };
    let mut of_author = told(&mut all[0], ann).await;
    of_author.sort();
    assert_eq!(of_author, [hidden, shown]);
    assert_eq!(told(&mut all[1], follower).await, [shown]);
    assert_eq!(told(&mut all[2], stranger).await, []);
}

#[tokio::test]
async fn who_comes_again_is_told_each_event_once_and_misses_none() {
    let house = House::new().await;
    let ann = house.user("Ann").await;
    let other = house.user("Bob").await;
    let mut subscription = house.subscribe(ann, None).await;
    let mut expected = Vec::new();
    let mut told = Vec::new();
    for round in 0..20 {
        for number in 0..10 {
            expected.push(house.ready(ann).await);
            house.ready(other).await;
            if number == 4 && round % 3 == 1 {
                // Somebody who was away, and comes again in the middle of it.
                let cursor = match subscription.next(Duration::ZERO).await.unwrap().unwrap() {
                    Next::Event(event) => {
                        told.push(of(&event));
                        event.cursor
                    }
                    Next::Nothing(cursor) | Next::Reset(cursor) => cursor,
                };
                drop(subscription);
                let cursor: Cursor = cursor.to_string().parse().unwrap();
                subscription = house.subscribe(ann, Some(cursor)).await;
            }
        }
    }
    while told.len() < expected.len() {
        told.push(of(&event(&mut subscription).await));
    }
    // Order holds in each shard.
    let mut sorted = told.clone();
    sorted.sort();
    assert_eq!(sorted, expected);
    assert!(matches!(subscription.next(Duration::ZERO).await.unwrap().unwrap(), Next::Nothing(_)));
}

fn of(event: &Event) -> PhotoId {
    match &event.change.what {
        What::PhotoReady { photo, .. } => *photo,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_is_too_slow_is_dropped_and_goes_on_from_where_they_were() {
    let house = House::new().await;
    let (ann, bob) = (house.user("Ann").await, house.user("Bob").await);
    let mut subscription = house.subscribe(ann, None).await;
    let mut quick = house.subscribe(bob, None).await;
    let mut expected = Vec::new();
    for _ in 0..300 {
        expected.push(house.ready(ann).await);
    }
    // Others are told meanwhile.
    let last = house.ready(bob).await;
    assert_eq!(photo(&mut quick).await, last);
    let mut told = Vec::new();
    let mut cursor = None;
    loop {
        match subscription.next(PATIENCE).await.unwrap() {
            Ok(Next::Event(event)) => {
                told.push(of(&event));
                cursor = Some(event.cursor);
            }
            Err(Ended::TooSlow) => break,
            Ok(other) => panic!("{other:?}"),
        }
    }
    assert!(told.len() < 300, "all of it waited in memory");
    let mut subscription = house.subscribe(ann, cursor).await;
    while told.len() < 300 {
        told.push(of(&event(&mut subscription).await));
    }
    told.sort();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_cursor_whose_successors_were_removed_begins_anew() {
    let house = House::new().await;
    let ann = house.user("Ann").await;
    let mut subscription = house.subscribe(ann, None).await;
    let first = house.ready(ann).await;
    let event = event(&mut subscription).await;
    assert_eq!(of(&event), first);
    let shard = changes::shard_of(first.0);
    // One more in the same shard, so that something is lost.
    let mut more = house.ready(ann).await;
    while changes::shard_of(more.0) != shard {
        more = house.ready(ann).await;
    }
    let remove = |tx| async move {
        let last = changes::last(&tx, shard).await?;
        changes::remove_until(&tx, shard, last)
    };
    house.metadata.transact("remove", remove).await.unwrap();
    let mut again = house.subscribe(ann, Some(event.cursor)).await;
    assert!(matches!(again.next(PATIENCE).await.unwrap().unwrap(), Next::Reset(_)));
    // And what happens now is told.
    let now = house.ready(ann).await;
    assert_eq!(photo(&mut again).await, now);
    assert!("nonsense".parse::<Cursor>().is_err());
}
