//! Number and text literals. All functions take the rest of the filter and return what they read and its length in
//! bytes, or the message of the error.

use super::Token;

/// Whether a text literal starts here: whether it is raw, and the length of its prefix.
pub(super) fn text_prefix(rest: &str) -> Option<(bool, usize)> {
    let prefixes = [("", false), ("u8", false), ("u", false), ("U", false), ("L", false), ("r", true), ("R", true)];
    prefixes.into_iter().find_map(|(prefix, raw)| {
        let quoted = rest.strip_prefix(prefix)?.starts_with(['"', '\'']);
        quoted.then_some((raw, prefix.len()))
    })
}

/// A raw text: a backslash stays as it is, and keeps a quote behind it from ending the text.
pub(super) fn raw_text(body: &str) -> Result<(String, usize), String> {
    let bytes = body.as_bytes();
    let quote = bytes.first().copied().unwrap_or_default();
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\r' | b'\n' => break,
            b'\\' if bytes.get(at + 1).is_some_and(|next| !matches!(next, b'\r' | b'\n')) => at += 2,
            byte if *byte == quote => {
                // Both ends are quotes, so these are character boundaries.
                return Ok((body.get(1..at).unwrap_or_default().to_owned(), at + 1));
            }
            _ => at += 1,
        }
    }
    Err("unterminated string".to_owned())
}

/// What a numeric escape such as `\xa0` stands for.
#[derive(Clone, Copy)]
enum Numeric {
    /// One byte of UTF-8, as in C and Go.
    Byte,
    /// A character of that number, as in Python.
    Char,
}

/// A text with escape sequences. Numeric escapes are bytes; if that is not UTF-8 they are characters: clients print
/// lists of keys with Python's `repr`, which writes a no-break space as `\xa0`.
pub(super) fn text(body: &str) -> Result<(String, usize), String> {
    let (bytes, length) = unescape(body, Numeric::Byte)?;
    let (text, length) = match String::from_utf8(bytes) {
        Ok(text) => (text, length),
        Err(_) => {
            let (bytes, length) = unescape(body, Numeric::Char)?;
            (String::from_utf8(bytes).map_err(|_| "string is not valid UTF-8 after its escapes".to_owned())?, length)
        }
    };
    Ok((text, length))
}

fn unescape(body: &str, numeric: Numeric) -> Result<(Vec<u8>, usize), String> {
    let bytes = body.as_bytes();
    let quote = bytes.first().copied().unwrap_or_default();
    let mut out = Vec::new();
    let mut at = 1;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let plain = rest.iter().position(|byte| *byte == quote || matches!(byte, b'\\' | b'\r' | b'\n'));
        let Some(plain) = plain else {
            return Err("unterminated string".to_owned());
        };
        out.extend_from_slice(&rest[..plain]);
        at += plain;
        match rest[plain] {
            b'\\' => at += escape(&rest[plain..], numeric, &mut out)?,
            byte if byte == quote => break,
            _ => return Err("unterminated string".to_owned()),
        }
    }
    Ok((out, at + 1))
}

/// One escape sequence; appends what it stands for and returns its length.
fn escape(bytes: &[u8], numeric: Numeric, out: &mut Vec<u8>) -> Result<usize, String> {
    let Some(kind) = bytes.get(1).copied() else {
        return Err("unterminated string".to_owned());
    };
    let simple = match kind {
        b'\'' | b'"' | b'?' | b'\\' => Some(kind),
        b'a' => Some(0x07),
        b'b' => Some(0x08),
        b'f' => Some(0x0c),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'v' => Some(0x0b),
        _ => None,
    };
    if let Some(byte) = simple {
        out.push(byte);
        return Ok(2);
    }
    match kind {
        // Kept whole for `like`, where the backslash takes the wildcard's meaning away.
        b'%' | b'_' => {
            out.extend_from_slice(&[b'\\', kind]);
            Ok(2)
        }
        b'0'..=b'7' => {
            let digits = bytes[1..].iter().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
            let value = bytes[1..=digits].iter().fold(0u32, |value, digit| value * 8 + u32::from(digit - b'0'));
            push_numeric(value, numeric, out)?;
            Ok(1 + digits)
        }
        b'x' => {
            push_numeric(hex(bytes, 2, 2)?, numeric, out)?;
            Ok(4)
        }
        b'u' => unicode_escape(bytes, out),
        b'U' => {
            push_char(hex(bytes, 2, 8)?, out)?;
            Ok(10)
        }
        _ => Err("invalid escape sequence in string".to_owned()),
    }
}

/// `\uXXXX`, or two of them that form a surrogate pair.
fn unicode_escape(bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
    let first = hex(bytes, 2, 4)?;
    if (0xd800..0xdc00).contains(&first) && bytes.get(6..8) == Some(b"\\u") {
        let second = hex(bytes, 8, 4)?;
        if (0xdc00..0xe000).contains(&second) {
            push_char(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), out)?;
            return Ok(12);
        }
    }
    push_char(first, out)?;
    Ok(6)
}

fn push_numeric(code: u32, numeric: Numeric, out: &mut Vec<u8>) -> Result<(), String> {
    let byte = u8::try_from(code).map_err(|_| "octal escape out of range".to_owned())?;
    match numeric {
        Numeric::Byte => out.push(byte),
        Numeric::Char => push_char(u32::from(byte), out)?,
    }
    Ok(())
}

fn push_char(code: u32, out: &mut Vec<u8>) -> Result<(), String> {
    let character = char::from_u32(code).ok_or_else(|| "escape is not a Unicode character".to_owned())?;
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(())
}

/// Exactly `count` hexadecimal digits from `start` on.
fn hex(bytes: &[u8], start: usize, count: usize) -> Result<u32, String> {
    let digits = bytes.get(start..start + count).and_then(|digits| std::str::from_utf8(digits).ok());
    digits
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .ok_or_else(|| format!("escape needs {count} hexadecimal digits"))
}

/// A number: decimal, `0x`, `0b`, leading-zero octal; decimal or hexadecimal float.
pub(super) fn number(rest: &str) -> Result<(Token<'static>, usize), String> {
    let bytes = rest.as_bytes();
    match (bytes.first(), bytes.get(1)) {
        (Some(b'0'), Some(b'x' | b'X')) => hexadecimal(rest),
        (Some(b'0'), Some(b'b' | b'B')) => {
            let length = 2 + count(&bytes[2..], |byte| matches!(byte, b'0' | b'1'));
            integer(rest.get(2..length), 2).map(|token| (token, length))
        }
        _ => decimal(rest),
    }
}

fn decimal(rest: &str) -> Result<(Token<'static>, usize), String> {
    let bytes = rest.as_bytes();
    let whole = count(bytes, |byte| byte.is_ascii_digit());
    let mut length = whole;
    if bytes.get(length) == Some(&b'.') {
        length += 1 + count(&bytes[length + 1..], |byte| byte.is_ascii_digit());
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let digits = count(bytes.get(length + 1 + sign..).unwrap_or_default(), |byte| byte.is_ascii_digit());
        if digits > 0 {
            length += 1 + sign + digits;
        }
    }
    let literal = rest.get(..length).unwrap_or_default();
    if length > whole {
        let value: f64 = literal.parse().map_err(|_| "malformed number".to_owned())?;
        return finite(value).map(|token| (token, length));
    }
    let token = if bytes[0] == b'0' && length > 1 { integer(literal.get(1..), 8) } else { integer(Some(literal), 10) };
    token.map(|token| (token, length))
}

fn hexadecimal(rest: &str) -> Result<(Token<'static>, usize), String> {
    let bytes = rest.as_bytes();
    let digits = |from: usize| count(bytes.get(from..).unwrap_or_default(), |byte| byte.is_ascii_hexdigit());
    let whole = digits(2);
    let mut length = 2 + whole;
    let mut fraction = 0;
    if bytes.get(length) == Some(&b'.') {
        fraction = digits(length + 1);
        length += 1 + fraction;
    }
    if !matches!(bytes.get(length), Some(b'p' | b'P')) {
        if length > 2 + whole {
            return Err("hexadecimal float needs an exponent".to_owned());
        }
        return integer(rest.get(2..length), 16).map(|token| (token, length));
    }
    let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
    let exponent_digits = count(bytes.get(length + 1 + sign..).unwrap_or_default(), |byte| byte.is_ascii_digit());
    let end = length + 1 + sign + exponent_digits;
    if exponent_digits == 0 || whole + fraction == 0 {
        return Err("malformed hexadecimal float".to_owned());
    }
    let mut mantissa = 0.0f64;
    for byte in bytes[2..length].iter().filter(|byte| **byte != b'.') {
        mantissa = mantissa * 16.0 + f64::from(char::from(*byte).to_digit(16).unwrap_or_default());
    }
    let exponent: i32 = rest.get(length + 1..end).and_then(|text| text.parse().ok()).unwrap_or(i32::MAX);
    let scale = exponent.saturating_sub(i32::try_from(4 * fraction).unwrap_or(i32::MAX));
    finite(mantissa * 2f64.powi(scale)).map(|token| (token, end))
}

fn integer(digits: Option<&str>, radix: u32) -> Result<Token<'static>, String> {
    let digits = digits.unwrap_or_default();
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err("malformed integer".to_owned());
    }
    match u64::from_str_radix(digits, radix) {
        Ok(value) if value <= i64::MIN.unsigned_abs() => Ok(Token::Int(value)),
        _ => Err("integer out of the range of Int64".to_owned()),
    }
}

fn finite(value: f64) -> Result<Token<'static>, String> {
    if value.is_finite() { Ok(Token::Float(value)) } else { Err("float out of the range of Double".to_owned()) }
}

fn count(bytes: &[u8], matches: impl Fn(&u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| matches(byte)).count()
}
