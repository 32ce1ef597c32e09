//! People and programs sign in, and what they may do then.

use darkroom_tests::{Answer, Client, Daemon, Setup, photos};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

/// Without `--open`; hashes that take no second in a build that is not optimised.
pub(super) fn setup(more: &str) -> Setup {
    let config = format!("[auth]\npassword_memory = '64 KiB'\npassword_passes = 1\n{more}");
    Setup { authenticated: true, ..Setup::config(&config) }
}

const PASSWORD: &str = "correct horse battery";

/// Registers somebody; their id.
pub(super) async fn register(client: &Client, name: &str) -> String {
    let email = format!("{name}@example.org");
    let wanted = json!({"name": name, "email": email, "password": PASSWORD, "handle": name.to_lowercase()});
    let answer = client.post("/v1/users", &wanted).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn sign_in(client: &Client, name: &str) -> Value {
    let answer = try_sign_in(client, name, PASSWORD).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.json()
}

async fn try_sign_in(client: &Client, name: &str, password: &str) -> Answer {
    let email = format!("{name}@example.org");
    client.post("/v1/sessions", &json!({"email": email, "password": password})).await
}

/// A client that is signed in as somebody who is new, and their id.
pub(super) async fn somebody(client: &Client, name: &str) -> (Client, String) {
    let id = register(client, name).await;
    let tokens = sign_in(client, name).await;
    (client.bearing(tokens["access_token"].as_str().unwrap()), id)
}

/// An API key made by an administrator.
async fn key(admin: &Client, wanted: Value) -> Value {
    let answer = admin.post("/v1/api-keys", &wanted).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn the_first_start_shows_a_key_that_may_do_everything_and_later_ones_do_not() {
    let daemon = Daemon::start_with(&setup(""));
    let first = daemon.first_key().expect("a key in the greeting").to_owned();
    assert!(!daemon.log().contains(&first), "the key is in the log");
    let admin = daemon.client().bearing(&first);
    assert_eq!(admin.get("/v1/admin/actors").await.status, StatusCode::OK);
    assert_eq!(daemon.client().get("/v1/admin/actors").await.problem(), "unauthenticated");
    let photo = admin.upload_settled(&photos::photo(1, 64, 48)).await;
    assert_eq!(photo["state"], "ready");
    let daemon = Daemon::start_on(daemon.stop(), &setup(""));
    assert_eq!(daemon.first_key(), None);
    let admin = daemon.client().bearing(&first);
    assert_eq!(admin.get("/v1/photos").await.json()["items"][0]["id"], photo["id"]);
}

#[tokio::test]
async fn people_register_sign_in_and_have_photos_of_their_own() {
    let daemon = Daemon::start_with(&setup(""));
    let (ann, ann_id) = somebody(&daemon.client(), "Ann").await;
    let (bob, bob_id) = somebody(&daemon.client(), "Bob").await;
    assert_ne!(ann_id, bob_id);
    let photo = ann.upload_settled(&photos::photo(1, 64, 48)).await;
    let id = photo["id"].as_str().unwrap();
    assert_eq!(bob.get("/v1/photos").await.json()["items"], json!([]));
    assert_eq!(ann.get("/v1/photos").await.json()["items"][0]["id"], id);
    // The same bytes are a photo of each.
    let other = bob.upload_settled(&photos::photo(1, 64, 48)).await;
    assert_ne!(other["id"], id);
    for path in ["/v1/photos", "/v1/usage", "/v1/batches", "/v1/sessions"] {
        assert_eq!(daemon.client().get(path).await.problem(), "unauthenticated", "{path}");
    }
    let upload = daemon.client().upload(&photos::photo(1, 64, 48)).await;
    assert_eq!(upload.problem(), "unauthenticated");
}

#[tokio::test]
async fn a_registration_that_comes_twice_is_one_and_an_address_is_one_users() {
    let daemon = Daemon::start_with(&setup(""));
    let client = daemon.client();
    let id = register(&client, "Ann").await;
    let mut wanted = json!({"name": "Ann", "email": "ANN@example.org", "password": PASSWORD});
    let again = client.post("/v1/users", &wanted).await;
    assert_eq!((again.status, again.json()["id"].as_str().unwrap()), (StatusCode::OK, &*id));
    wanted["password"] = json!("another password");
    assert_eq!(client.post("/v1/users", &wanted).await.problem(), "registration-refused");
    let handle = json!({"name": "Bob", "email": "bob@example.org", "password": PASSWORD, "handle": "ann"});
    assert_eq!(client.post("/v1/users", &handle).await.problem(), "handle-taken");
    for (field, bad) in [("name", ""), ("email", "bob"), ("password", "short"), ("handle", "Bob Lee")] {
        let mut wanted = json!({"name": "Bob", "email": "bob@example.org", "password": PASSWORD});
        wanted[field] = json!(bad);
        let refused = client.post("/v1/users", &wanted).await;
        assert_eq!(refused.problem(), "invalid-parameter");
        assert!(refused.json()["detail"].as_str().unwrap().contains(field) || field == "email");
    }
}

#[tokio::test]
async fn registration_may_be_for_those_whom_a_program_registers() {
    let daemon = Daemon::start_with(&setup("registration = 'keys'"));
    let admin = daemon.client().bearing(daemon.first_key().unwrap());
    let wanted = json!({"name": "Ann", "email": "ann@example.org", "password": PASSWORD});
    assert_eq!(daemon.client().post("/v1/users", &wanted).await.problem(), "unauthenticated");
    let reader = key(&admin, json!({"name": "reader", "scopes": ["feed:write"]})).await;
    let reader = daemon.client().bearing(reader["key"].as_str().unwrap());
    assert_eq!(reader.post("/v1/users", &wanted).await.problem(), "forbidden");
    let program = key(&admin, json!({"name": "sign-up page", "scopes": ["users:write"]})).await;
    let program = daemon.client().bearing(program["key"].as_str().unwrap());
    assert_eq!(program.post("/v1/users", &wanted).await.status, StatusCode::CREATED);
    sign_in(&daemon.client(), "ann").await;
}

#[tokio::test]
async fn signing_in_does_not_tell_whether_there_is_an_account_and_is_limited() {
    let daemon = Daemon::start_with(&setup("attempts_per_account = 3"));
    register(&daemon.client(), "Ann").await;
    for name in ["Ann", "Nobody"] {
        let mut answers = Vec::new();
        for _ in 0..3 {
            answers.push(try_sign_in(&daemon.client(), name, "a wrong password").await);
        }
        for answer in &answers {
            assert_eq!(answer.problem(), "invalid-credentials");
            assert_eq!(answer.json()["detail"], "the e-mail address or the password is wrong");
        }
        // The right one is not looked at any more, either.
        let limited = try_sign_in(&daemon.client(), name, PASSWORD).await;
        assert_eq!(limited.problem(), "too-many-attempts");
        assert!(limited.header("retry-after").parse::<u64>().unwrap() <= 21);
    }
}

#[tokio::test]
async fn a_session_goes_on_by_its_refresh_tokens_and_ends_when_one_is_used_twice() {
    let daemon = Daemon::start_with(&setup(""));
    register(&daemon.client(), "Ann").await;
    let client = daemon.client();
    let first = sign_in(&client, "Ann").await;
    let renew = async |tokens: &Value| {
        client.post("/v1/sessions/refresh", &json!({"refresh_token": tokens["refresh_token"]})).await
    };
    let mut newest = first.clone();
    for _ in 0..3 {
        let next = renew(&newest).await;
        assert_eq!(next.status, StatusCode::OK, "{next:?}");
        newest = next.json();
        assert_eq!(newest["session_id"], first["session_id"]);
    }
    let ann = client.bearing(newest["access_token"].as_str().unwrap());
    assert_eq!(ann.get("/v1/photos").await.status, StatusCode::OK);
    // One that is made up, with the session's id, ends nothing.
    let made_up = format!("drr_{}_{}_{}", id_in(&newest), "0".repeat(32), "0".repeat(64));
    assert_eq!(renew(&json!({"refresh_token": made_up})).await.problem(), "invalid-token");
    assert_eq!(ann.get("/v1/photos").await.status, StatusCode::OK);
    // One that was used before ends the session: whoever has stolen it has nothing, and neither have their tokens.
    let reused = renew(&first).await;
    assert_eq!(reused.problem(), "invalid-token");
    assert!(reused.json()["detail"].as_str().unwrap().contains("used before"));
    assert_eq!(ann.get("/v1/photos").await.problem(), "invalid-token");
    assert_eq!(renew(&newest).await.problem(), "invalid-token");
}

fn id_in(tokens: &Value) -> String {
    tokens["session_id"].as_str().unwrap().replace('-', "")
}

#[tokio::test]
async fn what_was_signed_out_is_refused_at_once_and_other_sessions_stay() {
    let daemon = Daemon::start_with(&setup("sessions_per_user_max = 3"));
    let client = daemon.client();
    register(&client, "Ann").await;
    let mut sessions = Vec::new();
    for _ in 0..2 {
        sessions.push(client.bearing(sign_in(&client, "Ann").await["access_token"].as_str().unwrap()));
    }
    let listed = sessions[0].get("/v1/sessions").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    let current: Vec<_> = listed["items"].as_array().unwrap().iter().map(|s| s["current"].clone()).collect();
    assert_eq!(current, [json!(false), json!(true)]);
    assert_eq!(sessions[0].delete("/v1/sessions/current").await.status, StatusCode::NO_CONTENT);
    let refused = sessions[0].get("/v1/photos").await;
    assert_eq!(refused.problem(), "invalid-token");
    assert!(refused.header("www-authenticate").contains("invalid_token"));
    assert_eq!(sessions[1].get("/v1/photos").await.status, StatusCode::OK);
    // Nobody ends the session of somebody else, nor learns of it.
    let (bob, _) = somebody(&client, "Bob").await;
    let theirs = sessions[1].get("/v1/sessions").await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(bob.delete(&format!("/v1/sessions/{theirs}")).await.problem(), "session-not-found");
    // With one more than there may be, the oldest ends.
    for _ in 0..3 {
        sign_in(&client, "Ann").await;
    }
    assert_eq!(sessions[1].get("/v1/photos").await.problem(), "invalid-token");
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_until_it_is_revoked() {
    let daemon = Daemon::start_with(&setup(""));
    let admin = daemon.client().bearing(daemon.first_key().unwrap());
    let made = key(&admin, json!({"name": "backup", "scopes": ["photos:read"]})).await;
    let reader = daemon.client().bearing(made["key"].as_str().unwrap());
    assert_eq!(reader.get("/v1/photos").await.status, StatusCode::OK);
    let refused = reader.upload(&photos::photo(1, 64, 48)).await;
    assert_eq!(refused.problem(), "forbidden");
    assert!(refused.json()["detail"].as_str().unwrap().contains("photos:write"));
    assert_eq!(reader.get("/v1/api-keys").await.problem(), "forbidden");
    assert_eq!(reader.get("/v1/admin/jobs").await.problem(), "forbidden");
    // Its use shows, and its secret never again.
    let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
    let used = async || admin.get(&path).await.json()["last_used_at"].is_string();
    darkroom_tests::eventually("the key's use is recorded", used).await;
    let listed = admin.get("/v1/api-keys").await;
    assert!(!String::from_utf8_lossy(&listed.body).contains("drk_"));
    assert_eq!(listed.json()["items"].as_array().unwrap().len(), 2);
    assert_eq!(admin.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(reader.get("/v1/photos").await.problem(), "invalid-token");
    assert_eq!(admin.delete(&path).await.problem(), "key-not-found");
    let brief = key(&admin, json!({"name": "brief", "scopes": ["photos:read"], "expires_in": 0})).await;
    let brief = daemon.client().bearing(brief["key"].as_str().unwrap());
    assert_eq!(brief.get("/v1/photos").await.problem(), "invalid-token");
    let unknown = admin.post("/v1/api-keys", &json!({"name": "x", "scopes": ["photos:delete"]})).await;
    assert!(unknown.json()["detail"].as_str().unwrap().contains("photos:write"), "{unknown:?}");
}

#[tokio::test]
async fn a_key_acts_for_the_user_whom_a_request_names_where_it_may() {
    let daemon = Daemon::start_with(&setup(""));
    let admin = daemon.client().bearing(daemon.first_key().unwrap());
    let (ann, ann_id) = somebody(&daemon.client(), "Ann").await;
    let scopes = json!(["photos:read", "photos:write", "users:act-as"]);
    let made = key(&admin, json!({"name": "site", "scopes": scopes})).await;
    let site = daemon.client().bearing(made["key"].as_str().unwrap());
    let headers = [("on-behalf-of", &*ann_id)];
    let upload = site.send(Method::POST, "/v1/photos", &headers, photos::photo(1, 64, 48)).await;
    assert_eq!(upload.status, StatusCode::CREATED, "{upload:?}");
    assert_eq!(ann.get("/v1/photos").await.json()["items"][0]["id"], upload.json()["id"]);
    assert_eq!(site.get("/v1/photos").await.json()["items"], json!([]));
    let nobody = [("on-behalf-of", "01a200fb-c08e-77b1-b3a0-d6348fccc4c2")];
    assert_eq!(site.get_with("/v1/photos", &nobody).await.problem(), "user-not-found");
    // A user is not another, and a key without the scope acts for its own user alone.
    let (bob, bob_id) = somebody(&daemon.client(), "Bob").await;
    assert_eq!(bob.get_with("/v1/photos", &headers).await.problem(), "forbidden");
    let own = key(&admin, json!({"name": "bobs", "scopes": ["photos:read"], "user_id": bob_id})).await;
    let own = daemon.client().bearing(own["key"].as_str().unwrap());
    assert_eq!(own.get("/v1/photos").await.json()["items"], json!([]));
    assert_eq!(own.get_with("/v1/photos", &headers).await.problem(), "forbidden");
}

#[tokio::test]
async fn what_is_no_credential_is_refused_and_wrong_secrets_are_limited() {
    let daemon = Daemon::start_with(&setup("attempts_per_account = 3"));
    let first = daemon.first_key().unwrap().to_owned();
    for bad in ["", "nonsense", "drk_nonsense", "a.b.c", &first[..first.len() - 1]] {
        let answer = daemon.client().bearing(bad).get("/openapi.json").await;
        assert_eq!(answer.problem(), "invalid-token", "{bad:?}");
    }
    let basic = daemon.client().get_with("/v1/photos", &[("authorization", "Basic YTpi")]).await;
    assert_eq!(basic.problem(), "invalid-token");
    let last = if first.ends_with('0') { '1' } else { '0' };
    let wrong = daemon.client().bearing(&format!("{}{last}", &first[..first.len() - 1]));
    for _ in 0..3 {
        assert_eq!(wrong.get("/v1/photos").await.problem(), "invalid-token");
    }
    assert_eq!(wrong.get("/v1/photos").await.problem(), "too-many-attempts");
    // Health and metrics ask nobody who they are.
    assert_eq!(daemon.client().bearing("nonsense").get("/readyz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_socket_of_the_machine_needs_no_key() {
    let daemon = Daemon::start_with(&setup(""));
    let actors = daemon.command(&["actors"]);
    assert!(actors.status.success(), "{}", String::from_utf8_lossy(&actors.stderr));
}

#[tokio::test]
async fn a_signed_link_opens_the_sizes_that_it_covers_until_the_photo_is_made_private() {
    let daemon = Daemon::start_with(&setup(""));
    let (ann, _) = somebody(&daemon.client(), "Ann").await;
    let (bob, _) = somebody(&daemon.client(), "Bob").await;
    let anybody = daemon.client();
    let photo = ann.upload_settled(&photos::photo(1, 300, 200)).await;
    let path = format!("/v1/photos/{}", photo["id"].as_str().unwrap());
    assert_eq!(anybody.get(&path).await.problem(), "photo-not-found");
    let wanted = json!({"presets": ["thumb", "small"], "expires_in": 60});
    assert_eq!(bob.post(&format!("{path}/links"), &wanted).await.problem(), "photo-not-found");
    let link = ann.post(&format!("{path}/links"), &wanted).await;
    assert_eq!(link.status, StatusCode::CREATED, "{link:?}");
    let link = link.json();
    for name in ["thumb", "small"] {
        let opened = anybody.get(link["variants"][name].as_str().unwrap()).await;
        assert_eq!(opened.status, StatusCode::OK, "{opened:?}");
        assert!(opened.header("cache-control").starts_with("private"), "{opened:?}");
    }
    let query = link["query"].as_str().unwrap();
    // Without the current version it leads there, and the link goes along.
    let old = anybody.get(&format!("{path}/variants/thumb?v=0000000000000000&{query}")).await;
    assert_eq!(old.status, StatusCode::FOUND);
    assert_eq!(anybody.get(old.header("location")).await.status, StatusCode::OK);
    for other in [format!("{path}/variants/large?{query}"), format!("{path}/original?{query}")] {
        assert_eq!(anybody.get(&other).await.problem(), "link-invalid", "{other}");
    }
    let longer = query.replace("&e=1", "&e=2");
    assert_eq!(anybody.get(&format!("{path}/variants/thumb?{longer}")).await.problem(), "link-invalid");
    assert_eq!(anybody.get(&format!("{path}?{query}")).await.problem(), "invalid-parameter");
    let private = ann.send_json(Method::PATCH, &path, &json!({"visibility": "private"})).await;
    assert_eq!(private.status, StatusCode::OK, "{private:?}");
    assert_eq!(anybody.get(&format!("{path}/variants/thumb?{query}")).await.problem(), "photo-not-found");
    // What is private has links of its own, which end with the photo.
    let whole = ann.post(&format!("{path}/links"), &json!({"original": true, "expires_in": 60})).await.json();
    let original = whole["original"].as_str().unwrap();
    assert_eq!(anybody.get(original).await.body, photos::photo(1, 300, 200));
    assert_eq!(ann.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(anybody.get(original).await.problem(), "photo-not-found");
}

#[tokio::test]
async fn tokens_are_verified_by_the_public_keys_over_rotations_and_end_with_a_replaced_key() {
    let daemon = Daemon::start_with(&setup("keys_reload = '1s'\nkeys_reload_min = '1s'\n"));
    let (ann, _) = somebody(&daemon.client(), "Ann").await;
    let keys = async || daemon.client().get("/.well-known/jwks.json").await.json()["keys"].clone();
    let before = keys().await;
    assert_eq!(before.as_array().unwrap().len(), 1);
    assert!(before[0]["d"].is_null() && before[0]["crv"] == "Ed25519", "{before}");
    let rotated = daemon.command(&["keys", "rotate", "--purpose", "tokens"]);
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    let two = async || keys().await.as_array().unwrap().len() == 2;
    darkroom_tests::eventually("the next key is published", two).await;
    assert_eq!(ann.get("/v1/photos").await.status, StatusCode::OK);
    let replaced = daemon.command(&["keys", "rotate", "--purpose", "tokens", "--at-once"]);
    assert!(replaced.status.success(), "{}", String::from_utf8_lossy(&replaced.stderr));
    let refused = async || ann.get("/v1/photos").await.status == StatusCode::UNAUTHORIZED;
    darkroom_tests::eventually("the old key's tokens are refused", refused).await;
    sign_in(&daemon.client(), "Ann").await;
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked_by_command_with_and_without_a_daemon() {
    let daemon = Daemon::start_with(&setup(""));
    let create = ["keys", "create", "--name", "nightly", "--scope", "photos:read,feed:read", "--json"];
    let made: Value = serde_json::from_slice(&daemon.command(&create).stdout).unwrap();
    let reader = daemon.client().bearing(made["key"].as_str().unwrap());
    assert_eq!(reader.get("/v1/photos").await.status, StatusCode::OK);
    let id = made["id"].as_str().unwrap().to_owned();
    let data = daemon.data();
    let home = daemon.stop();
    let run = |arguments: &[&str]| {
        let output = darkroom_tests::daemon::run(arguments, &data);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(run(&["keys", "list"]).contains("nightly"));
    run(&["keys", "revoke", &id]);
    assert!(!run(&["keys", "list"]).contains("nightly"));
    let again = run(&["keys", "create", "--name", "again", "--scope", "admin"]);
    let daemon = Daemon::start_on(home, &setup(""));
    let reader = daemon.client().bearing(made["key"].as_str().unwrap());
    assert_eq!(reader.get("/v1/photos").await.problem(), "invalid-token");
    let again = daemon.client().bearing(again.lines().next().unwrap());
    assert_eq!(again.get("/v1/admin/actors").await.status, StatusCode::OK);
}
