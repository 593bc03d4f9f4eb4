//! Whom to tell of what.

use crate::workflow::{MessageFormat, Notification, NotifyOn, Webhook};
use crate::yaml::{Placed, Report, Value};

/// Reads the rules; those that are refused are missing in the answer.
pub(super) fn notifications(given: Vec<Placed<Value>>, report: &mut Report<'_>) -> Vec<Notification> {
    let mut rules = Vec::new();
    for mut rule in given.into_iter().filter_map(Placed::into_object).map(|rule| rule.value) {
        let mut on: Vec<NotifyOn> = Vec::new();
        for name in rule.texts("on") {
            let event = NotifyOn::ALL.into_iter().find(|event| event.as_str() == name.value);
            match event {
                Some(event) if on.contains(&event) => {
                    let message = format!("`{}` stands twice", name.value);
                    report.error(&name.at, "duplicate_value", message).help("remove one of them");
                }
                Some(event) => on.push(event),
                // The table of keys lets only known names through.
                None => {}
            }
        }
        if let Some(webhook) = rule.text("webhook").and_then(|text| webhook(&text, report)) {
            let slack = rule.text("format").is_some_and(|it| it.value == MessageFormat::Slack.as_str());
            let format = if slack { MessageFormat::Slack } else { MessageFormat::Json };
            rules.push(Notification { on, webhook, format });
        }
    }
    rules
}

fn webhook(given: &Placed<String>, report: &mut Report<'_>) -> Option<Webhook> {
    match given.value.parse() {
        Ok(webhook) => Some(webhook),
        Err(_) => {
            report.hide(&given.at);
            let message = format!("`{}` is no address", given.at.pointer.dotted());
            report
                .error(&given.at, "invalid_value", message)
                .help("write an https:// URL without a password, or a reference such as env://ALERT_URL");
            None
        }
    }
}
