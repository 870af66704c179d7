//! The viewer between a real broker and a browser's WebSocket, over real sockets.
#![allow(missing_docs)]

#[path = "support/served.rs"]
mod served;

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use lkas::status::{State, StatusWatch};
use lkas::viewer::{Viewer, ViewerOptions};
use lkas_messages::names::Category;
use lkas_messages::{DetectionFields, Lane};
use lkas_zmq::wire::FrameHeader;
use lkas_zmq::{ActionClient, ParameterClient, Topic};
use serde_json::{Value, json};
use served::{MOMENT, PATIENCE, System};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use tungstenite::{Message, WebSocket, client, client::IntoClientRequest};

impl System {
    fn browser(&self) -> Browser {
        Browser::open(self.address)
    }

    /// A browser that the viewer has subscribed to frames for.
    fn watching_browser(&mut self) -> Browser {
        let browser = self.browser();
        self.until("somebody wants frames", |broker| broker.has_viewers(Topic::Frame).then_some(()));
        browser
    }
}

/// What a browser does, without the picture.
struct Browser {
    socket: WebSocket<TcpStream>,
    frames: VecDeque<Vec<u8>>,
    texts: VecDeque<Value>,
    closed: bool,
}

impl Browser {
    fn open(address: SocketAddr) -> Self {
        Self::with(address, "Origin", &format!("http://{address}"))
    }

    /// A client whose request for the WebSocket has this header.
    fn with(address: SocketAddr, header: &'static str, value: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        request.headers_mut().insert(header, value.parse().unwrap());
        let (socket, _) = client(request, stream).expect("our own page is let in");
        socket.get_ref().set_read_timeout(Some(MOMENT)).unwrap();
        Self { socket, frames: VecDeque::new(), texts: VecDeque::new(), closed: false }
    }

    fn say(&mut self, request: &Value) {
        self.socket.send(Message::text(request.to_string())).unwrap();
    }

    /// Takes what has arrived.
    fn listen(&mut self) {
        match self.socket.read() {
            Ok(Message::Binary(frame)) => self.frames.push_back(frame.to_vec()),
            Ok(Message::Text(text)) => self.texts.push_back(serde_json::from_str(&text).unwrap()),
            Ok(Message::Close(_)) => self.closed = true,
            Ok(_) => {}
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(_) => self.closed = true,
        }
    }

    /// The next text of this type; those before it are dropped.
    fn text(&mut self, kind: &str) -> Option<Value> {
        self.listen();
        while let Some(text) = self.texts.pop_front() {
            if text["type"] == kind {
                return Some(text);
            }
        }
        None
    }

    fn frame(&mut self) -> Option<Vec<u8>> {
        self.listen();
        self.frames.pop_front()
    }
}

fn header(frame_id: u64) -> FrameHeader {
    FrameHeader { frame_id, timestamp: 12.5, width: 800, height: 600, ..FrameHeader::default() }
}

/// The status line, the headers and the body of a plain HTTP answer.
fn http(address: SocketAddr, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_page_and_everything_it_names_is_served() {
    let system = System::start();
    let page = http(system.address, "/", "");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.contains("content-security-policy: default-src 'self'") && page.contains("x-frame-options: DENY"));
    let mut named: VecDeque<String> = ["href=\"", "src=\""]
        .iter()
        .flat_map(|mark| page.split(mark).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()))
        .collect();
    assert!(named.len() >= 4, "{named:?}");
    let mut seen = Vec::new();
    while let Some(path) = named.pop_front() {
        assert!(path.starts_with('/'), "{path} would come from elsewhere");
        if seen.contains(&path) {
            continue;
        }
        let file = http(system.address, &path, "");
        assert!(file.starts_with("HTTP/1.1 200"), "{path}: {file}");
        // Modules import further modules.
        named.extend(file.split("from \"./").skip(1).map(|rest| format!("/{}", rest.split('"').next().unwrap())));
        seen.push(path);
    }
    assert!(seen.iter().any(|path| path == "/video.js"), "{seen:?}");
    assert!(http(system.address, "/nothing", "").starts_with("HTTP/1.1 404"));
    assert!(http(system.address, "/health", "").contains(r#""status":"#));
}

#[test]
fn a_frame_and_its_lanes_arrive_as_they_were() {
    let mut system = System::start();
    let mut browser = system.watching_browser();
    let hello = system.until("hello", |_| browser.text("hello"));
    assert_eq!(hello["parameters"].as_array().unwrap().len(), 11);

    let id = u64::MAX - 1; // beyond what a JavaScript number can say
    assert!(system.broker.broadcast_frame(&header(id), b"a JPEG").is_sent());
    let lane = Lane { x1: 100.0, y1: 600.0, x2: 300.0, y2: 350.0, confidence: 0.5 };
    let detection = DetectionFields { left: Some(lane), frame_id: id, ..DetectionFields::default() };
    assert!(system.broker.broadcast_detection(&detection).is_sent());
    let frame = system.until("a frame", |_| browser.frame());
    let mut expected = id.to_le_bytes().to_vec();
    expected.extend(12.5_f64.to_le_bytes());
    expected.extend([800_u32, 600, 6].iter().flat_map(|number| number.to_le_bytes()));
    expected.extend(b"a JPEG");
    assert_eq!(frame, expected);
    let detection = system.until("a detection", |_| browser.text("detection"));
    assert_eq!(detection["data"]["frame_id"], id.to_string());
    assert_eq!(detection["data"]["left_lane"]["x2"], 300.0);
    assert_eq!(detection["data"]["right_lane"], Value::Null);
}

#[test]
fn a_browser_that_is_slow_gets_the_latest_frame_and_none_between() {
    let mut system = System::start();
    let mut browser = system.watching_browser();
    for id in 1..=5 {
        assert!(system.broker.broadcast_frame(&header(id), b"a JPEG").is_sent());
        // The broker's messages keep their order: with this one, the viewer has had the frame as well.
        assert!(system.broker.broadcast_telemetry(&json!({"frame_id": id})).is_sent());
        system.until("telemetry", |_| browser.text("telemetry").filter(|text| text["data"]["frame_id"] == id));
    }
    browser.say(&json!({"type": "ack"}));
    let numbers: Vec<u64> = system.until("two frames", |_| {
        browser.listen();
        (browser.frames.len() == 2)
            .then(|| browser.frames.iter().map(|frame| u64::from_le_bytes(frame[..8].try_into().unwrap())).collect())
    });
    assert_eq!(numbers, [1, 5]);
}

#[test]
fn frames_are_asked_for_only_while_a_browser_is_there() {
    let mut system = System::start();
    system.until("the viewer subscribes", |broker| broker.has_viewers(Topic::State).then_some(()));
    assert!(!system.broker.has_viewers(Topic::Frame));
    let browser = system.watching_browser();
    drop(browser);
    system.until("nobody wants frames", |broker| (!broker.has_viewers(Topic::Frame)).then_some(()));
}

#[test]
fn a_parameter_reaches_its_server_and_the_answer_comes_back() {
    let mut system = System::start();
    let (sender, values) = mpsc::channel();
    let mut server = ParameterClient::connect(system.broker.endpoint(), Category::Decision, move |parameter, value| {
        let _ = sender.send((parameter.name, value));
    })
    .unwrap();
    let mut browser = system.browser();
    browser.say(&json!({"type": "parameter", "category": "decision", "parameter": "kp", "value": 1.25}));
    system.until("the server learns", |_| {
        server.poll().unwrap();
        values.try_iter().any(|value| value == ("kp", 1.25)).then_some(())
    });
    system.until("the browser learns", |_| {
        browser.text("parameter_status").filter(|status| {
            let data = &status["data"];
            data["parameter"] == "kp" && data["value"] == 1.25 && data["accepted"] == true
        })
    });
    let mut later = system.browser();
    let known = system.until("values", |_| later.text("values"));
    let known = known["data"].as_array().unwrap();
    assert!(known.iter().any(|status| status["parameter"] == "kp" && status["value"] == 1.25), "{known:?}");
}

#[test]
fn a_page_that_is_opened_later_gets_the_last_200_events() {
    let mut system = System::start();
    let mut browser = system.browser();
    // A status has no more than these.
    let status = |newest: u64| {
        let event =
            |number| json!({"number": number, "time_s": number as f64, "age_s": 1000 - number, "words": "obeyed"});
        let events: Vec<_> = (newest - 15..=newest).map(event).collect();
        json!({"processes": [{"name": "decision", "alive": true, "events": events}]})
    };
    for newest in (16..=256).step_by(10) {
        let sent = status(newest);
        system.until("the viewer has it", |broker| {
            let _ = broker.broadcast_status(&sent);
            browser.text("status").filter(|status| status["data"] == sent)
        });
    }
    let mut later = system.browser();
    let known = system.until("values", |_| later.text("values"));
    let events = known["events"].as_array().unwrap();
    let numbers: Vec<_> = events.iter().map(|event| event["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (57..=256).collect::<Vec<_>>());
    let newest = events.last().unwrap();
    assert_eq!(
        (&newest["process"], &newest["words"], &newest["time_s"]),
        (&json!("decision"), &json!("obeyed"), &json!(256.0))
    );
    assert!(newest["age_s"].as_f64().is_some_and(|age| age >= 744.0), "{newest}");
}

#[test]
fn a_status_is_passed_on_at_once_and_not_with_the_next_message() {
    let mut system = System::start();
    let mut browser = system.browser();
    system.until("the viewer is there", |broker| {
        let _ = broker.broadcast_status(&json!({"number": 0}));
        browser.text("status")
    });
    for number in 1..=50 {
        let _ = system.broker.broadcast_status(&json!({"number": number}));
        let _ = system.broker.broadcast_telemetry(&json!({"number": number}));
        let mut told = 0;
        system.until("the next message", |_| {
            browser.listen();
            while let Some(text) = browser.texts.pop_front() {
                match text["type"].as_str() {
                    Some("status") => told = text["data"]["number"].as_u64().unwrap(),
                    Some("telemetry") => return Some(()),
                    _ => {}
                }
            }
            None
        });
        assert_eq!(told, number, "what the vehicle says is told before what comes after it");
    }
}

#[test]
fn actions_reach_the_simulation_and_the_answer_comes_back() {
    let mut system = System::start();
    for action in ["pause", "resume", "respawn"] {
        system.broker.register_action(action.parse().unwrap(), |_| ());
    }
    let mut simulation = ActionClient::connect(system.broker.endpoint()).unwrap();
    let mut browser = system.browser();
    for action in ["pause", "resume", "respawn"] {
        browser.say(&json!({"type": "action", "action": action}));
        let answer = system.until("an answer", |_| browser.text("action_status"));
        assert_eq!((&answer["data"]["action"], &answer["data"]["accepted"]), (&json!(action), &json!(true)));
        if answer["data"]["delivered"] == true {
            let asked = system.until("the simulation learns", |_| simulation.poll().unwrap());
            assert_eq!(asked.action.as_str(), action);
        }
    }
    // At the latest now the simulation is subscribed, so that this one must arrive.
    system.until("a delivered action", |_| {
        browser.say(&json!({"type": "action", "action": "pause"}));
        simulation.poll().unwrap()
    });
}

#[test]
fn foreign_pages_are_refused() {
    let system = System::start();
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let port = system.address.port();
    for origin in ["http://evil.example", "null", "http://localhost:1", &format!("http://evil.example:{port}")] {
        let answer = http(system.address, "/ws", &format!("{upgrade}Origin: {origin}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 403"), "{origin}: {answer}");
    }
    system.browser();
}

#[test]
fn programs_watch_and_command_with_the_token_alone() {
    let mut system = System::start();
    let kp = json!({"type": "parameter", "category": "decision", "parameter": "kp", "value": 1.25});
    let mut stranger = Browser::with(system.address, "User-Agent", "a program");
    system.until("it watches", |_| stranger.text("link"));
    for request in [&kp, &json!({"type": "action", "action": "pause"})] {
        stranger.say(request);
        let error = system.until("a refusal", |_| stranger.text("error"));
        assert!(error["message"].as_str().unwrap().contains("token"), "{error}");
        assert_eq!((&error["parameter"], &error["action"]), (&request["parameter"], &request["action"]));
    }
    assert_eq!(system.broker.statistics().parameters.received, 0);
    let bearer = format!("Bearer {}", system.token);
    let mut program = Browser::with(system.address, "Authorization", &bearer);
    program.say(&kp);
    system.until("the broker learns", |broker| (broker.statistics().parameters.received > 0).then_some(()));

    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let answer = http(system.address, "/ws", &format!("{upgrade}Authorization: {bearer}0\r\n"));
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("not the token"), "{answer}");
}

#[test]
fn garbage_is_answered_and_forgotten() {
    let mut system = System::start();
    let mut browser = system.browser();
    for garbage in ["", "null", "{", r#"{"type":"quit"}"#, r#"{"type":"action","action":"explode"}"#] {
        browser.socket.send(Message::text(garbage)).unwrap();
        system.until("an error", |_| browser.text("error"));
    }
    browser.say(&json!({"type": "parameter", "category": "decision", "parameter": "kp", "value": 1e9}));
    let error = system.until("an error", |_| browser.text("error"));
    assert_eq!((&error["parameter"], &error["category"]), (&json!("kp"), &json!("decision")));
    browser.socket.send(Message::binary(vec![0xff; 64])).unwrap();
    system.until("still served", |_| browser.text("link"));
    assert_eq!(system.broker.statistics().parameters.received, 0);

    // Far too long: this connection ends, and no other.
    let mut other = system.browser();
    let _ = browser.socket.send(Message::text("x".repeat(100_000)));
    system.until("the end", |_| {
        browser.listen();
        browser.closed.then_some(())
    });
    system.until("others are served", |_| other.text("link"));
}

#[test]
fn a_port_in_use_is_an_error_that_helps() {
    let first = Viewer::bind(&ViewerOptions { port: 0, ..ViewerOptions::default() }).unwrap();
    let port = first.local_addr().port();
    let error = Viewer::bind(&ViewerOptions { port, ..ViewerOptions::default() }).unwrap_err().to_string();
    assert!(error.contains(&port.to_string()) && error.contains("choose another port"), "{error}");
}

#[test]
fn half_a_request_is_let_go() {
    let system = System::start();
    let halves = ["", "GET / HTTP/1.1\r\nHost: local"];
    let connections = halves.map(|half| {
        let mut stream = TcpStream::connect(system.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(half.as_bytes()).unwrap();
        stream
    });
    for mut stream in connections {
        let mut said = Vec::new();
        let end = stream.read_to_end(&mut said);
        assert!(end.is_ok(), "still connected after {PATIENCE:?}: {end:?}");
    }
}

#[test]
fn it_says_how_it_is() {
    let mut system = System::start();
    let mut status = StatusWatch::new(system.status.clone());
    let mut says = |state: State| status.look().map(|seen| seen.status).filter(|status| status.state == state.code());
    // Another one finds that the name is taken, and serves as well.
    let (port, broker) = (0, system.broker.endpoint().clone());
    let options = ViewerOptions { port, broker, status: Some(system.status.clone()), ..ViewerOptions::default() };
    system.until("it publishes", |_| says(State::Waiting).or_else(|| says(State::Running)));
    let second = Viewer::bind(&options).unwrap();
    let (address, stop) = (second.local_addr(), Arc::new(AtomicBool::new(false)));
    let flag = Arc::clone(&stop);
    let second = std::thread::spawn(move || second.run(&flag));
    assert!(http(address, "/health", "").starts_with("HTTP/1.1 200"));

    let status = json!({"processes": []});
    let running = system.until("it runs", |broker| {
        let _ = broker.broadcast_status(&status);
        says(State::Running)
    });
    assert!(http(system.address, "/health", "").contains(r#""status":"ok""#));
    assert_eq!((running.starts, running.reason.to_string().as_str()), (1, ""), "it is the first one");
    let waiting = system.until("it waits", |_| says(State::Waiting));
    assert!(http(system.address, "/health", "").contains(r#""status":"waiting""#));
    let broker = system.broker.endpoint();
    assert_eq!(waiting.reason.to_string(), format!("nothing comes from the broker at {broker}"));
    let event = waiting.events[(waiting.events_seen % waiting.events.len() as u64) as usize];
    assert_eq!(event.words.to_string(), format!("waiting; {}", waiting.reason));

    stop.store(true, Ordering::Relaxed);
    second.join().unwrap().expect("it serves without a status");
}

#[test]
fn stopping_says_goodbye_and_frees_the_port() {
    let mut system = System::start();
    let mut browser = system.browser();
    system.until("hello", |_| browser.text("hello"));
    system.stop();
    system.until("goodbye", |_| {
        browser.listen();
        browser.closed.then_some(())
    });
    let port = system.address.port();
    let again = Viewer::bind(&ViewerOptions { port, ..ViewerOptions::default() }).expect("the port is free again");
    assert_eq!(again.local_addr(), system.address);
}
