//! The two lines that greet whoever starts the server.

use std::net::SocketAddr;

use crate::config::Settings;

/// Why it cannot be changed here.
const WHOLE_CLUSTER: &str = "on all nodes of the cluster, as the first of them was told";

/// What the banner tells.
#[derive(Debug)]
pub struct Banner<'a> {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where health and metrics are.
    pub http: Option<SocketAddr>,
    /// Whether both take TLS and nothing else.
    pub is_tls: bool,
    /// Where the data is.
    pub data: String,
    /// What is in force.
    pub settings: &'a Settings,
    /// Whether it is one of several processes that have the same configuration.
    pub shared: bool,
}

impl Banner<'_> {
    /// Where it listens and where the data is; when data becomes visible and how to change that.
    pub fn lines(&self) -> [String; 2] {
        let (with, scheme) = if self.is_tls { (" with TLS", "https") } else { ("", "http") };
        let http = match self.http {
            Some(http) => format!(", health and metrics on {scheme}://{http}"),
            None => String::new(),
        };
        let place = format!(
            "Redkite {} listens on {}{with}{http}; its data is in {}.",
            env!("CARGO_PKG_VERSION"),
            self.listen,
            self.data
        );
        [place, self.visibility()]
    }

    fn visibility(&self) -> String {
        let [auto_flush, interval, limit] =
            ["auto_flush", "flush_interval", "flush_limitition"].map(|key| self.settings.shown(key));
        if auto_flush != "true" && self.shared {
            return format!("Data becomes visible when the client calls flush() {WHOLE_CLUSTER}.");
        }
        if auto_flush != "true" {
            return "Data becomes visible when the client calls flush(). For it to become visible by itself set \
                    auto_flush = true (--set auto_flush=true, REDKITE_AUTO_FLUSH=true or in the --config file)."
                .to_owned();
        }
        let when = match interval.as_str() {
            "0" => {
                "Every write is visible as soon as it is answered (auto_flush = true, flush_interval = 0).".to_owned()
            }
            _ => format!(
                "Data becomes visible by itself after {interval} ms or {} (auto_flush = true, flush_interval = \
                 {interval}, flush_limitition = {limit}).",
                limit.trim_matches('"')
            ),
        };
        if self.shared {
            return format!("{} {WHOLE_CLUSTER}.", when.trim_end_matches('.'));
        }
        format!("{when} For it to wait for the client's flush() set auto_flush = false (--set auto_flush=false).")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, CommandLine, Sources};

    fn lines(set: &[&str], http: Option<&str>) -> [String; 2] {
        lines_of(set, http, false)
    }

    fn lines_of(set: &[&str], http: Option<&str>, shared: bool) -> [String; 2] {
        let set = set.iter().map(|text| (*text).to_owned()).collect();
        let sources = Sources { command_line: CommandLine { set, ..CommandLine::default() }, ..Sources::default() };
        let loaded = config::load(&sources).unwrap();
        let banner = Banner {
            listen: "127.0.0.1:19530".parse().unwrap(),
            http: http.map(|address| address.parse().unwrap()),
            is_tls: false,
            data: "/var/lib/redkite".to_owned(),
            settings: &loaded.settings,
            shared,
        };
        banner.lines()
    }

    #[test]
    fn it_says_where_everything_is() {
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            lines(&[], Some("127.0.0.1:9091"))[0],
            format!(
                "Redkite {version} listens on 127.0.0.1:19530, health and metrics on http://127.0.0.1:9091; \
                 its data is in /var/lib/redkite."
            )
        );
        assert_eq!(
            lines(&[], None)[0],
            format!("Redkite {version} listens on 127.0.0.1:19530; its data is in /var/lib/redkite.")
        );
    }

    #[test]
    fn it_says_when_data_becomes_visible_and_how_to_change_that() {
        let check = |set: &[&str], words: &[&str]| {
            let [_, line] = lines(set, None);
            assert!(!line.contains('\n'));
            for word in words {
                assert!(line.contains(word), "{set:?}: {line}");
            }
        };
        check(&[], &["when the client calls flush()", "--set auto_flush=true", "REDKITE_AUTO_FLUSH"]);
        check(&["auto_flush=true"], &["by itself after 1000 ms or 16M", "flush_interval", "auto_flush=false"]);
        check(&["auto_flush=true", "flush_interval=0"], &["as soon as it is answered", "auto_flush=false"]);
    }

    #[test]
    fn a_node_says_that_it_is_not_its_own_to_change() {
        for (set, words) in
            [(&[][..], "calls flush() on all nodes"), (&["auto_flush=true"][..], "1000 ms or 16M (auto_flush = true")]
        {
            let [_, line] = lines_of(set, None, true);
            assert!(line.contains(words) && line.ends_with("was told.") && !line.contains("--set"), "{line}");
        }
    }
}
