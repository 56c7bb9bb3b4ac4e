//! How long a client waits for the answer: the header `grpc-timeout` of the gRPC protocol.

use std::time::Duration;

use http::header::HeaderMap;

const HEADER: &str = "grpc-timeout";
/// What the protocol allows.
const DIGITS_MAX: usize = 8;

/// The time a call may take from now on; `None` if the client waits for as long as it takes, or names no time.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(HEADER)?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.len() > DIGITS_MAX || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 60 * 60),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn times_are_read_in_every_unit() {
        let check = |text: &'static str, want: Option<Duration>| {
            let headers = HeaderMap::from_iter([(HEADER.parse().unwrap(), HeaderValue::from_static(text))]);
            assert_eq!(timeout(&headers), want, "{text:?}");
        };
        check("2H", Some(Duration::from_secs(7_200)));
        check("3M", Some(Duration::from_secs(180)));
        check("99999999S", Some(Duration::from_secs(99_999_999)));
        check("5m", Some(Duration::from_millis(5)));
        check("6u", Some(Duration::from_micros(6)));
        check("0n", Some(Duration::ZERO));
        for text in ["", "S", "5", "5s", "-5S", "+5S", "5 S", "100000000S", "1.5S"] {
            check(text, None);
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }
}
