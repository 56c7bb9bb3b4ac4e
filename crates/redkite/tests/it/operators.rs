//! The HTTP port.

use redkite_testkit::{RedkiteOptions, free_port, http_get};

use crate::BINARY;

#[test]
fn health_readiness_and_metrics_are_served() {
    let server = RedkiteOptions::new(BINARY).start().unwrap();
    let get = |path: &str| http_get(server.http_address(), path).unwrap();
    assert_eq!(get("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(get("/readyz"), (200, "{\"ready\":true}".to_owned()));
    assert_eq!(get("/nowhere").0, 404);
    let (status, metrics) = get("/metrics");
    assert_eq!(status, 200);
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
    };
    assert!(value("process_cpu_seconds_total") > 0.0);
    assert!(value("process_resident_memory_bytes") > value("process_anonymous_memory_bytes"));
    assert!(value("process_anonymous_memory_bytes") > 0.0);
    assert!(value("process_open_fds") > 2.0);
    assert!(value("redkite_start_seconds") > 0.0);
    assert_eq!(value("redkite_sessions"), 0.0);
}

#[test]
fn it_is_not_ready_while_the_object_store_is_gone() {
    let server = RedkiteOptions::new(BINARY).start().unwrap();
    let objects = server.data_dir().join("objects");
    std::fs::remove_dir_all(&objects).unwrap();
    std::fs::write(&objects, "no directory").unwrap();
    let (status, body) = http_get(server.http_address(), "/readyz").unwrap();
    assert_eq!(status, 503, "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["ready"], false);
    assert!(body["reason"].as_str().is_some_and(|reason| reason.contains("object store")), "{body}");
    assert_eq!(http_get(server.http_address(), "/healthz").unwrap().0, 200);
}

#[test]
fn without_an_address_there_is_no_http() {
    let scratch = tempfile::tempdir().unwrap();
    let listen = format!("127.0.0.1:{}", free_port().unwrap());
    let mut command = std::process::Command::new(BINARY);
    command
        .args(["standalone", "--listen", &listen, "--http", "", "--set", "log=off", "--data-dir"])
        .arg(scratch.path());
    let log = scratch.path().join("log");
    let mut server = redkite_testkit::Process::spawn("redkite", command, &log).unwrap();
    let wait = std::time::Duration::from_secs(20);
    server.wait_ready(wait, || std::net::TcpStream::connect(&listen).is_ok()).unwrap();
    let banner = std::fs::read_to_string(&log).unwrap();
    assert!(!banner.contains("http://"), "{banner}");
    assert_eq!(server.terminate(wait).unwrap().code(), Some(0));
}
