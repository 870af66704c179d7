//! One port for the page and its WebSocket.
//!
//! | path | what |
//! |---|---|
//! | `/` and the files it names | the page; nothing in it comes from elsewhere |
//! | `/ws` | the WebSocket |
//! | `/foxglove`, and `/` for who asks for one of its protocols | the WebSocket of [Foxglove's protocol](crate::foxglove) |
//! | `/health` | a JSON object: `status` (`ok`, or `waiting` for the broker), `broker`, `last_message_ms`, `fault`, `browsers` |
//!
//! # The WebSocket
//!
//! The page of this server may command. A program that sends no `Origin` may watch, and may command where the request for
//! the WebSocket has the header `Authorization: Bearer TOKEN`. The viewer makes a token at each start and prints it with its
//! address.
//!
//! From the viewer, a binary message is a frame, all numbers little endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | `frame_id`, u64 |
//! | 8..16 | `timestamp` in seconds, f64 |
//! | 16..20, 20..24 | width and height in pixels, u32 each: what the lanes' coordinates refer to |
//! | 24..28 | length of the JPEG, u32 |
//! | 28.. | the JPEG |
//!
//! and a text message is a JSON object:
//!
//! | `type` | further keys |
//! |---|---|
//! | `hello` | `broker`, `categories`, `parameters`: `{category, name, min, max, default, help}` each; the first message |
//! | `values` | `data`: the last `parameter_status` of each parameter; `events`: the last 200 events of all processes, the oldest first, as they stand in `status`, each with its `process`; after `hello`, and again whenever texts were lost |
//! | `link` | `broker`: null, or `connected`, `silence_ms` since the broker's last sign of life, which comes once a second, and `round_trip_ms`, both null where they are not known; `last_message_ms`: age of the broker's last message or null; `fault`: text or null; `frame_ms`: what the connection took for the last frame, there and back, or null. Every half second, so that silence means a dead connection |
//! | `detection`, `state`, `telemetry`, `status`, `parameter_status`, `action_status` | `data`: the broker's object. `frame_id` is a string in `detection`, because JavaScript's numbers end at 2^53 |
//! | `error` | `message`; and `category` and `parameter`, or `action`, where the refused request had them |
//!
//! From the page come text messages alone:
//!
//! | `type` | further keys |
//! |---|---|
//! | `ack` | the last frame is decoded |
//! | `parameter` | `category`, `parameter`, `value` |
//! | `action` | `action`: one of those in [`crate::actions::ACTIONS`] |
//!
//! One frame at a time is under way to each browser. The next one is the latest at the moment of the acknowledgement,
//! so a slow browser gets fewer frames, and none that waited. Anything else that a page sends is answered with `error`
//! and forgotten.

use super::{
    hub::{Hub, Seat},
    session,
};
use crate::foxglove::{self, protocol::SUBPROTOCOLS};
use axum::{
    Router,
    extract::{
        RawQuery, State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Json, Response},
    routing::get,
    serve::Listener,
};
use core::{net::IpAddr, pin::pin, time::Duration};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::{io, sync::Arc};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The page: path, kind and content of each file.
const PAGE: [(&str, &str, &str); 18] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("/controls.css", "text/css; charset=utf-8", include_str!("page/controls.css")),
    ("/panels.css", "text/css; charset=utf-8", include_str!("page/panels.css")),
    ("/uplot.css", "text/css; charset=utf-8", include_str!("page/uplot/uPlot.min.css")),
    ("/uplot.js", "text/javascript; charset=utf-8", include_str!("page/uplot/uPlot.iife.min.js")),
    ("/viewer.js", "text/javascript; charset=utf-8", include_str!("page/viewer.js")),
    ("/link.js", "text/javascript; charset=utf-8", include_str!("page/link.js")),
    ("/video.js", "text/javascript; charset=utf-8", include_str!("page/video.js")),
    ("/instruments.js", "text/javascript; charset=utf-8", include_str!("page/instruments.js")),
    ("/parameter.js", "text/javascript; charset=utf-8", include_str!("page/parameter.js")),
    ("/parameters.js", "text/javascript; charset=utf-8", include_str!("page/parameters.js")),
    ("/processes.js", "text/javascript; charset=utf-8", include_str!("page/processes.js")),
    ("/commands.js", "text/javascript; charset=utf-8", include_str!("page/commands.js")),
    ("/charts.js", "text/javascript; charset=utf-8", include_str!("page/charts.js")),
    ("/stop.js", "text/javascript; charset=utf-8", include_str!("page/stop.js")),
    ("/alarm.js", "text/javascript; charset=utf-8", include_str!("page/alarm.js")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// With every answer: nothing from elsewhere is loaded, and no other page may frame this one and have it clicked.
const SECURITY: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    // The page belongs to this very viewer: one from an older program must not be taken from a cache.
    (header::CACHE_CONTROL, "no-cache"),
];

const NOT_THE_TOKEN: &str = "this is not the token that the viewer printed when it started; each start has its own";

/// How long a request may take to come, and a connection may stay without one. Who opens connections and says nothing must
/// not keep others out for long.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);

/// How long browsers have to leave when the viewer stops.
const FAREWELL: Duration = Duration::from_millis(500);

/// What every request needs.
#[derive(Clone, Debug)]
struct Shared {
    hub: Arc<Hub>,
    /// What programs without an origin show in order to command.
    token: Arc<str>,
    /// Only this computer can reach the server.
    loopback: bool,
}

/// Serves until the hub stops.
///
/// # Errors
/// The listener has no address.
pub(super) async fn serve(mut listener: TcpListener, hub: Arc<Hub>, token: &str) -> io::Result<()> {
    let loopback = listener.local_addr()?.ip().is_loopback();
    let router = Router::new().route("/ws", get(upgrade)).route("/health", get(health));
    let mut router = router.route("/", get(root)).route("/foxglove", get(upgrade_foxglove));
    for (path, kind, content) in PAGE {
        if path != "/" {
            router = router.route(path, get(move || async move { page(kind, content) }));
        }
    }
    let router = router.with_state(Shared { hub: Arc::clone(&hub), token: token.into(), loopback });
    let (service, mut connections) = (TowerToHyperService::new(router), JoinSet::new());
    let mut stopped = pin!(hub.stopped());
    loop {
        let stream = tokio::select! {
            // Of axum's, as it bears with what passes: connections that broke off, and too many open files.
            (stream, _) = Listener::accept(&mut listener) => stream,
            () = &mut stopped => break,
        };
        connections.spawn(serve_one(stream, service.clone(), hub.stopped()));
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let left = async {
        while connections.join_next().await.is_some() {}
        hub.left().await;
    };
    // Who does not leave is left.
    let _ = tokio::time::timeout(FAREWELL, left).await;
    Ok(())
}

/// Serves one connection until it ends, becomes a WebSocket, or `stopped`.
async fn serve_one(stream: TcpStream, service: TowerToHyperService<Router>, stopped: impl Future<Output = ()>) {
    // Telemetry is many small messages; each shall leave at once.
    drop(stream.set_nodelay(true));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST_WITHIN);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    tokio::select! {
        // Whatever ended it, there is nobody left to be told.
        _ = &mut connection => {}
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

fn page(kind: &'static str, content: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], SECURITY, content).into_response()
}

/// The page, and the WebSocket for clients that know no other path.
async fn root(shared: State<Shared>, headers: HeaderMap, query: RawQuery, socket: Upgrade) -> Response {
    match (socket, PAGE[0]) {
        (Ok(socket), _) => upgrade_foxglove(shared, headers, query, Ok(socket)).await,
        (Err(_), (_, kind, content)) => page(kind, content),
    }
}

async fn health(State(shared): State<Shared>) -> Response {
    (SECURITY, Json(shared.hub.health())).into_response()
}

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

async fn upgrade(State(shared): State<Shared>, headers: HeaderMap, socket: Upgrade) -> Response {
    let admitted = check_origin(&headers, shared.loopback).and_then(|own| Ok(own | shows(&headers, &shared.token)?));
    admit(&shared, admitted, socket, |socket, seat, may_command| {
        session::limits(socket).on_upgrade(move |socket| session::run(socket, seat, may_command))
    })
}

/// Foxglove and Lichtblick are pages from elsewhere, which show the token in the address: there is no other place for it.
async fn upgrade_foxglove(
    State(shared): State<Shared>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    socket: Upgrade,
) -> Response {
    let shown = query.iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("token="));
    let admitted = match shown {
        Some(shown) => (shown == &*shared.token).then_some(true).ok_or(NOT_THE_TOKEN),
        None => check_origin(&headers, shared.loopback)
            .map_err(|_| "a page from elsewhere needs the token that the viewer printed: ws://HOST:PORT/?token=TOKEN")
            .and_then(|own| Ok(own | shows(&headers, &shared.token)?)),
    };
    admit(&shared, admitted, socket, |socket, seat, may_command| {
        let socket = foxglove::session::limits(socket);
        if socket.selected_protocol().is_none() {
            let words = format!("ask for one of the protocols {}", SUBPROTOCOLS.join(", "));
            return (StatusCode::BAD_REQUEST, SECURITY, words).into_response();
        }
        socket.on_upgrade(move |socket| foxglove::session::run(socket, seat, may_command))
    })
}

/// Serves a client that may watch, if there is a place for it; `admitted` says whether it may command as well.
fn admit(
    shared: &Shared,
    admitted: Result<bool, &'static str>,
    socket: Upgrade,
    serve: impl FnOnce(WebSocketUpgrade, Seat, bool) -> Response,
) -> Response {
    let may_command = match admitted {
        Ok(may_command) => may_command,
        Err(reason) => return (StatusCode::FORBIDDEN, SECURITY, reason).into_response(),
    };
    match (socket, shared.hub.seat()) {
        (Ok(socket), Some(seat)) => serve(socket, seat, may_command),
        (Err(rejection), _) => rejection.into_response(),
        (Ok(_), None) => (StatusCode::SERVICE_UNAVAILABLE, SECURITY, "too many browsers; close one").into_response(),
    }
}

/// Whether the WebSocket is for a page of this server's own: whether it may command. A browser lets any page open a WebSocket to any host and
/// names the page's origin; without this check every page in the world could steer the vehicle of whoever looks at it.
///
/// Programs that are no browsers send no origin. They are let in and may watch; in order to command they show the token.
///
/// # Errors
/// It is for another page.
fn check_origin(headers: &HeaderMap, loopback: bool) -> Result<bool, &'static str> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(false) };
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_ascii_lowercase();
    let host = headers.get(header::HOST).map(text).unwrap_or_default();
    let origin = text(origin);
    let origin = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).unwrap_or_default();
    if origin.is_empty() || origin != host {
        return Err("the page that asks is not the viewer's own");
    }
    // A foreign name can be made to point at this computer (DNS rebinding). Then origin and host agree, and are foreign.
    if loopback && !names_this_computer(&host) {
        return Err("open the page as http://localhost");
    }
    Ok(true)
}

/// Whether a request shows the token.
///
/// # Errors
/// It shows another one.
fn shows(headers: &HeaderMap, token: &str) -> Result<bool, &'static str> {
    let Some(shown) = headers.get(header::AUTHORIZATION) else { return Ok(false) };
    match shown.to_str().ok().and_then(|shown| shown.strip_prefix("Bearer ")) == Some(token) {
        true => Ok(true),
        false => Err(NOT_THE_TOKEN),
    }
}

fn names_this_computer(host: &str) -> bool {
    // The port follows the last colon, except that a colon inside brackets is part of an IPv6 address.
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.ends_with(".localhost") || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origin: Option<&str>, host: &str, loopback: bool) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        check_origin(&headers, loopback).is_ok()
    }

    #[test]
    fn our_own_page_and_programs_are_let_in() {
        for host in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST:8080", "localhost", "[::1]"] {
            assert!(check(Some(&format!("http://{host}")), host, true), "{host}");
        }
        assert!(check(None, "localhost:8080", true));
        assert!(check(Some("http://car.example:8080"), "car.example:8080", false));
        assert!(check(Some("https://car.example"), "car.example", false));
    }

    #[test]
    fn programs_without_an_origin_command_by_the_token_alone() {
        let with = |shown: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, shown.parse().unwrap());
            shows(&headers, "secret")
        };
        assert_eq!(check_origin(&HeaderMap::new(), true), Ok(false));
        assert_eq!(shows(&HeaderMap::new(), "secret"), Ok(false));
        assert_eq!(with("Bearer secret"), Ok(true));
        for wrong in ["Bearer Secret", "secret", "Bearer ", "Bearer secret2"] {
            assert!(with(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn foreign_pages_are_not() {
        for origin in [
            "http://evil.example",
            "http://localhost:9090",
            "http://localhost",
            "http://localhost:8080.evil.example",
            "null",
            "",
            "localhost:8080",
            "file://localhost:8080",
            "http://",
        ] {
            assert!(!check(Some(origin), "localhost:8080", true), "{origin}");
            assert!(!check(Some(origin), "localhost:8080", false), "{origin}");
        }
        assert!(!check(Some("http://evil.example:8080"), "evil.example:8080", true), "rebinding");
        assert!(!check(Some("http://127.0.0.1.evil.example"), "127.0.0.1.evil.example", true), "rebinding");
        assert!(!check(Some("http://"), "", true));
    }
}
