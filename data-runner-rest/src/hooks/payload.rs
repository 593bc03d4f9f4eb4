//! What a webhook says, as far as it is of use here.

use data_runner_core::hook::HookSender;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::Deserialize;

/// What a webhook tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// Somebody pushed to a repository that has these URLs.
    Push { urls: Vec<String> },
    /// The webhook was made, and wants to know whether it is heard.
    Ping,
    /// Something that nothing is done for.
    Other { event: String },
}

/// A body that is not what its sender sends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the header {0} does not say what it is about")]
    NoEvent(&'static str),
    #[error("the body is not the JSON that this event has")]
    Json(#[source] serde_json::Error),
    #[error("the form has no field `payload`")]
    NoPayload,
    #[error("it names no URL of the repository")]
    NoUrl,
}

/// GitHub's push, as far as it is read here.
#[derive(Deserialize)]
struct GithubPush {
    repository: GithubRepository,
}

#[derive(Deserialize)]
struct GithubRepository {
    clone_url: Option<String>,
    ssh_url: Option<String>,
    git_url: Option<String>,
}

/// GitLab's, likewise. Older versions have the URLs in `repository`.
#[derive(Deserialize)]
struct GitlabPush {
    project: Option<GitlabProject>,
    repository: Option<GitlabProject>,
}

#[derive(Deserialize)]
struct GitlabProject {
    git_http_url: Option<String>,
    git_ssh_url: Option<String>,
}

/// GitLab's system hooks and some others name what they are about in the body.
#[derive(Deserialize)]
struct GitlabEvent {
    object_kind: Option<String>,
    event_name: Option<String>,
}

/// Reads a webhook whose signature is right.
pub(crate) fn told(sender: HookSender, headers: &HeaderMap, body: &[u8]) -> Result<Told, Unreadable> {
    match sender {
        HookSender::Github => {
            let event = event(headers, "x-github-event")?;
            match event {
                "ping" => Ok(Told::Ping),
                "push" => {
                    let push: GithubPush = json(&json_of(headers, body)?)?;
                    let GithubRepository { clone_url, ssh_url, git_url } = push.repository;
                    pushed([clone_url, ssh_url, git_url])
                }
                other => Ok(Told::Other { event: other.to_owned() }),
            }
        }
        HookSender::Gitlab => {
            let event = event(headers, "x-gitlab-event")?;
            let kind: GitlabEvent = json(body)?;
            match kind.object_kind.or(kind.event_name).as_deref() {
                Some("push" | "tag_push") => {
                    let push: GitlabPush = json(body)?;
                    let urls = push.project.into_iter().chain(push.repository);
                    pushed(urls.flat_map(|it| [it.git_http_url, it.git_ssh_url]))
                }
                Some(_) | None => Ok(Told::Other { event: event.to_owned() }),
            }
        }
    }
}

fn pushed(urls: impl IntoIterator<Item = Option<String>>) -> Result<Told, Unreadable> {
    let urls: Vec<String> = urls.into_iter().flatten().collect();
    if urls.is_empty() { Err(Unreadable::NoUrl) } else { Ok(Told::Push { urls }) }
}

fn event<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Unreadable> {
    let event = headers.get(name).and_then(|event| event.to_str().ok());
    event.filter(|event| (1..=100).contains(&event.len())).ok_or(Unreadable::NoEvent(name))
}

fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(body).map_err(Unreadable::Json)
}

/// GitHub puts the JSON into a form unless the webhook is told otherwise.
fn json_of<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<std::borrow::Cow<'a, [u8]>, Unreadable> {
    let content = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content.starts_with("application/x-www-form-urlencoded") {
        return Ok(body.into());
    }
    let mut fields = form_urlencoded::parse(body);
    let payload = fields.find(|(name, _)| name == "payload").ok_or(Unreadable::NoPayload)?;
    Ok(payload.1.into_owned().into_bytes().into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn read(sender: HookSender, event: &str, body: &str) -> Result<Told, Unreadable> {
        let mut headers = HeaderMap::new();
        let name = if sender == HookSender::Github { "x-github-event" } else { "x-gitlab-event" };
        headers.insert(name, event.parse().unwrap());
        if body.starts_with("payload=") {
            headers.insert(CONTENT_TYPE, "application/x-www-form-urlencoded".parse().unwrap());
        }
        told(sender, &headers, body.as_bytes())
    }

    fn push(urls: &[&str]) -> Told {
        Told::Push { urls: urls.iter().map(|&url| url.to_owned()).collect() }
    }

    #[test]
    fn a_push_names_its_repository_in_json_or_in_a_form() {
        let json = r#"{"ref": "refs/heads/main", "repository": {"clone_url": "https://h/a.git", "ssh_url": "git@h:a.git"}}"#;
        assert_eq!(
            read(HookSender::Github, "push", json).unwrap(),
            push(&["https://h/a.git", "git@h:a.git"])
        );
        let form = "payload=%7B%22repository%22%3A%7B%22clone_url%22%3A%22https%3A%2F%2Fh%2Fa%22%7D%7D";
        assert_eq!(read(HookSender::Github, "push", form).unwrap(), push(&["https://h/a"]));
        for kind in ["push", "tag_push"] {
            let json = format!(
                r#"{{"object_kind": "{kind}", "project": {{"git_http_url": "https://l/a.git", "git_ssh_url": "git@l:a.git"}}}}"#
            );
            let told = read(HookSender::Gitlab, "Push Hook", &json).unwrap();
            assert_eq!(told, push(&["https://l/a.git", "git@l:a.git"]), "{kind}");
        }
        let system = r#"{"event_name": "push", "project": {"git_http_url": "https://l/a.git"}}"#;
        assert_eq!(read(HookSender::Gitlab, "System Hook", system).unwrap(), push(&["https://l/a.git"]));
    }

    #[test]
    fn other_events_are_told_apart_without_reading_more_of_them() {
        assert_eq!(read(HookSender::Github, "ping", "{}").unwrap(), Told::Ping);
        let other = |event: &str| Told::Other { event: event.to_owned() };
        assert_eq!(read(HookSender::Github, "issues", "not even JSON").unwrap(), other("issues"));
        assert_eq!(
            read(HookSender::Gitlab, "Job Hook", r#"{"object_kind": "build"}"#).unwrap(),
            other("Job Hook")
        );
        assert_eq!(read(HookSender::Gitlab, "Odd Hook", "{}").unwrap(), other("Odd Hook"));
    }

    #[test]
    fn what_is_no_push_of_its_sender_is_an_error() {
        for (sender, event, body) in [
            (HookSender::Github, "push", ""),
            (HookSender::Github, "push", "[]"),
            (HookSender::Github, "push", "{}"),
            (HookSender::Github, "push", r#"{"repository": {}}"#),
            (HookSender::Github, "push", r#"{"repository": {"clone_url": 1}}"#),
            (HookSender::Github, "push", "payload=%ff%00&x=1"),
            (HookSender::Gitlab, "Push Hook", r#"{"object_kind": "push"}"#),
            (HookSender::Gitlab, "Push Hook", "{"),
            (HookSender::Gitlab, "", "{}"),
        ] {
            assert!(read(sender, event, body).is_err(), "{event} {body}");
        }
    }

    /// Pieces that webhooks are made of, put together in any way.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => prop::sample::select(vec![
                "{", "}", "[", "]", ":", ",", "\"", "null", "payload=", "%7B", "%", "&", "\\u0000", "1e999",
                "\"repository\":", "\"project\":", "\"clone_url\":", "\"git_http_url\":", "\"object_kind\":",
                "\"push\"", "\"https://h/a.git\"", "{\"repository\": {\"clone_url\": \"https://h/a.git\"}}",
            ]).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => vec(any::<u8>(), 0..9),
        ];
        vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// Whatever is sent under a good signature: it is a push with an address, something else, or refused.
        #[test]
        fn any_body_is_read_or_refused_and_a_push_always_names_its_repository(
            body in pieces(),
            github in any::<bool>(),
            event in "push|ping|Push Hook|System Hook|Tag Push Hook|[ -~]{0,12}",
            form in any::<bool>(),
        ) {
            let sender = if github { HookSender::Github } else { HookSender::Gitlab };
            let mut headers = HeaderMap::new();
            let name = if github { "x-github-event" } else { "x-gitlab-event" };
            headers.insert(name, event.parse().unwrap());
            if form {
                headers.insert(CONTENT_TYPE, "application/x-www-form-urlencoded".parse().unwrap());
            }
            match told(sender, &headers, &body) {
                Ok(Told::Push { urls }) => prop_assert!(!urls.is_empty() && urls.iter().all(|url| !url.is_empty())),
                Ok(Told::Ping | Told::Other { .. }) => {}
                Err(refused) => prop_assert!(!refused.to_string().is_empty()),
            }
        }
    }
}
