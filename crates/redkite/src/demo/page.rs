//! What is printed, at the width of the terminal.

use std::io::Write;
use std::time::Duration;

use super::client::Hit;

/// Where nobody says how wide the page is.
const WIDTH_DEFAULT: usize = 100;
/// A page this narrow is not laid out any narrower.
const WIDTH_MIN: usize = 40;
/// Columns of a hit: the score with its margin, and the word.
const SCORE_WIDTH: usize = 10;
const LEMMA_WIDTH: usize = 26;

/// Lines on their way to a person.
#[derive(Debug)]
pub struct Page {
    width: usize,
}

impl Page {
    /// Standard output, as wide as its terminal.
    pub fn stdout() -> Self {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
        let width = size.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0);
        Self { width: width.unwrap_or(WIDTH_DEFAULT).max(WIDTH_MIN) }
    }

    /// Prints a line as it is.
    pub fn line(&mut self, text: &str) {
        let mut out = std::io::stdout().lock();
        if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
            tracing::debug!(%error, "nobody reads what the demonstration prints");
        }
    }

    /// Prints what was searched for, how long it took and what was found.
    pub fn search(&mut self, query: &str, filter: &str, took: Duration, hits: &[Hit]) {
        self.line("");
        for line in self.search_lines(query, filter, took, hits) {
            self.line(&line);
        }
    }

    fn search_lines(&self, query: &str, filter: &str, took: Duration, hits: &[Hit]) -> Vec<String> {
        let took = format!("{:.1} ms", took.as_secs_f64() * 1e3);
        let room = self.width.saturating_sub(took.len() + 1);
        let mut lines = vec![format!("{:<room$} {took}", shorten(&format!("\"{query}\""), room))];
        if !filter.is_empty() {
            lines.push(shorten(&format!("  where {filter}"), self.width));
        }
        lines.extend(hits.iter().map(|hit| self.hit_line(hit)));
        if hits.is_empty() {
            lines.push("  nothing found".to_owned());
        }
        lines
    }

    fn hit_line(&self, hit: &Hit) -> String {
        let word = shorten(&format!("{}, {}", hit.lemma, hit.part_of_speech), LEMMA_WIDTH);
        let room = self.width.saturating_sub(SCORE_WIDTH + LEMMA_WIDTH + 1);
        let score = format!("{:>8.3}", hit.score);
        format!("{score:<SCORE_WIDTH$}{word:<LEMMA_WIDTH$} {}", shorten(&hit.gloss, room))
    }
}

/// At most `width` characters, the last of them an ellipsis if something was left out.
fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// A number with commas between the thousands.
pub fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_fits_the_page() {
        let hit = Hit {
            score: 0.7312,
            lemma: "slalom".to_owned(),
            part_of_speech: "noun".to_owned(),
            gloss: "a downhill race over a winding course defined by upright poles".to_owned(),
        };
        let page = Page { width: 64 };
        let lines = page.search_lines("ski downhill", "pos == \"noun\"", Duration::from_micros(1234), &[hit]);
        let want = [
            "\"ski downhill\"                                            1.2 ms",
            "  where pos == \"noun\"",
            "   0.731  slalom, noun               a downhill race over a win…",
        ];
        assert_eq!(lines, want);
        assert!(lines.iter().all(|line| line.chars().count() <= 64));
        let nothing = page.search_lines("x", "", Duration::ZERO, &[]);
        assert_eq!(nothing[1], "  nothing found");
    }

    #[test]
    fn long_texts_end_in_an_ellipsis() {
        let check = |text: &str, width: usize, want: &str| assert_eq!(shorten(text, width), want);
        check("short", 5, "short");
        check("shorter", 5, "shor…");
        check("abc def", 5, "abc…");
        check("zu äöü", 5, "zu ä…");
    }

    #[test]
    fn thousands_are_set_apart() {
        let check = |number: i64, want: &str| assert_eq!(thousands(number), want);
        check(0, "0");
        check(999, "999");
        check(5000, "5,000");
        check(-1_234_567, "-1,234,567");
    }
}
