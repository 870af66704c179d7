//! What a browser may ask for, and nothing else.

use crate::actions::ACTIONS;
use lkas_messages::names::{Category, Name, Parameter};
use serde::Deserialize;
use serde_json::{Value, json};

/// The longest message that a browser may send, in bytes. The longest sensible one has about a hundred.
pub(super) const MAX_REQUEST: usize = 4096;

/// What a checked message from a browser means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Request {
    /// The frame sent last has been decoded: the next may come.
    Acknowledged {
        /// How long the browser worked on it: not a matter of the connection. Milliseconds.
        work_ms: u32,
    },
    /// Something for the broker.
    Command(Command),
}

/// What goes to the broker on behalf of a browser.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// Ask for this value: in range where the parameter is one of this system's own, and else the server's to judge.
    Parameter { category: Name, name: Name, value: f64 },
    /// Ask for this action, which is one of those in use.
    Action(&'static str),
}

/// A command with the number under which whoever gave it finds its answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub(super) number: u64,
    pub(super) command: Command,
}

/// Why a request was not carried out, in the form in which the browser learns of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal(Value);

impl Refusal {
    /// The refusal of a message that is no request at all.
    fn of_message(reason: &str) -> Self {
        Self(json!({"type": "error", "message": reason}))
    }

    /// The refusal of a command that is in order in itself.
    pub(super) fn of_command(command: &Command, reason: &str) -> Self {
        match command {
            Command::Parameter { category, name, .. } => Self::of_parameter(category.as_str(), name.as_str(), reason),
            Command::Action(action) => Self::of_action(action, reason),
        }
    }

    fn of_parameter(category: &str, parameter: &str, reason: &str) -> Self {
        Self(json!({"type": "error", "message": reason, "category": category, "parameter": parameter}))
    }

    fn of_action(action: &str, reason: &str) -> Self {
        Self(json!({"type": "error", "message": reason, "action": action}))
    }

    /// The reason alone.
    pub(crate) fn reason(&self) -> String {
        self.0["message"].as_str().unwrap_or_default().to_owned()
    }

    /// The message to the browser.
    pub(super) fn text(&self) -> String {
        self.0.to_string()
    }
}

/// The shape of a request before its names and numbers are checked.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Raw {
    Ack {
        #[serde(default)]
        work_ms: u32,
    },
    Parameter {
        category: String,
        parameter: String,
        value: f64,
    },
    Action {
        action: String,
    },
}

/// The wish for a value of a parameter.
///
/// # Errors
/// A name that is none, and for the system's own parameters one that there is not, or a value out of range.
pub(crate) fn parameter_command(category: &str, parameter: &str, value: f64) -> Result<Command, Refusal> {
    let refuse = |reason: &str| Refusal::of_parameter(category, parameter, reason);
    let named = |name: &str| name.parse::<Name>().map_err(|error| refuse(&error.to_string()));
    let names = (named(category)?, named(parameter)?);
    if let Ok(own) = category.parse::<Category>() {
        let found = Parameter::find(own, parameter).map_err(|error| refuse(&error.to_string()))?;
        // Refused rather than clamped: the page's sliders can't ask for it, so somebody means something else.
        if found.accept(value) != Some(value) {
            return Err(refuse(&format!("{parameter} is {} to {}, found {value}", found.min, found.max)));
        }
    }
    Ok(Command::Parameter { category: names.0, name: names.1, value })
}

/// The request in `text`.
///
/// # Errors
/// Anything that is not exactly a known request with known names and a value in range.
pub(super) fn parse(text: &str) -> Result<Request, Refusal> {
    match serde_json::from_str(text) {
        Ok(Raw::Ack { work_ms }) => Ok(Request::Acknowledged { work_ms }),
        Ok(Raw::Parameter { category, parameter, value }) => {
            parameter_command(&category, &parameter, value).map(Request::Command)
        }
        Ok(Raw::Action { action }) => ACTIONS
            .into_iter()
            .find(|known| *known == action)
            .map(|known| Request::Command(Command::Action(known)))
            .ok_or_else(|| Refusal::of_action(&action, &format!("unknown action; there are {}", ACTIONS.join(", ")))),
        Err(error) => Err(Refusal::of_message(&format!("not a request that the viewer knows: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        parse(text).unwrap_err().text()
    }

    #[test]
    fn known_requests_are_understood() {
        assert_eq!(parse(r#"{"type":"ack"}"#), Ok(Request::Acknowledged { work_ms: 0 }));
        assert_eq!(parse(r#"{"type":"ack","work_ms":7}"#), Ok(Request::Acknowledged { work_ms: 7 }));
        assert_eq!(parse(r#"{"type":"action","action":"pause"}"#), Ok(Request::Command(Command::Action("pause"))));
        for action in ["emergency_stop", "release_emergency_stop"] {
            let text = json!({"type": "action", "action": action}).to_string();
            assert_eq!(parse(&text), Ok(Request::Command(Command::Action(action))));
        }
        // A category of another program's server is that server's affair.
        for (category, name, value) in [("decision", "kp", 1.0), ("planning", "look_ahead", 1e6)] {
            let text =
                json!({"type": "parameter", "category": category, "parameter": name, "value": value}).to_string();
            let Ok(Request::Command(Command::Parameter { category: found, name: of, value: asked })) = parse(&text)
            else {
                panic!("{text} is not understood")
            };
            assert_eq!((found.as_str(), of.as_str(), asked), (category, name, value));
        }
    }

    #[test]
    fn everything_else_is_refused_with_a_reason() {
        assert!(message(r#"{"type":"action","action":"explode"}"#).contains("respawn"));
        assert!(message(r#"{"type":"parameter","category":"decision","parameter":"kp","value":9}"#).contains("0 to 2"));
        let unknown = message(r#"{"type":"parameter","category":"decision","parameter":"ki","value":0}"#);
        assert!(unknown.contains("steer_max") && unknown.contains(r#""parameter":"ki""#), "{unknown}");
        for garbage in ["", "null", "[]", "{", r#"{"type":"shutdown"}"#, r#"{"type":"action","action":7}"#, "\u{0}"] {
            assert!(message(garbage).contains("error"), "{garbage:?}");
        }
        for value in ["NaN", "1e999", "null", "\"0.5\""] {
            let text = format!(r#"{{"type":"parameter","category":"decision","parameter":"kp","value":{value}}}"#);
            assert!(parse(&text).is_err(), "{value}");
        }
    }
}
