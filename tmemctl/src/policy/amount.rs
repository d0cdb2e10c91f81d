// SPDX-License-Identifier: MIT OR Apache-2.0
//! Amounts of memory, the way administrators write them: `"512 MiB"`, `"1.5 GiB"`, `"10 %"`.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// The size of a frame in bytes.
const FRAME_BYTES: f64 = 4096.0;

/// Binary units, and how many bytes they stand for. One letter is enough, as for `tmemctl set`.
const UNITS: [(&str, u64); 4] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// The largest amount, in bytes: far more than any host has, and exact in a floating-point number.
const MOST: f64 = 1_125_899_906_842_624.0;

const EXPECTED: &str = "expected a size such as \"512 MiB\", \"1.5 GiB\" or \"10 %\"";

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub enum Amount {
    Bytes(f64),
    /// A share of the host's memory, from 0 to 100.
    Percent(f64),
}

impl Amount {
    /// How many whole frames that is on a host with `host` frames.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "amounts are not negative, and far below 2^53 frames"
    )]
    pub fn frames(self, host: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => (bytes / FRAME_BYTES) as u64,
            Self::Percent(percent) => (host as f64 * percent / 100.0) as u64,
        }
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = (&text[..end], text[end..].trim_start());
        let number: f64 = number
            .parse()
            .map_err(|_| format!("{EXPECTED}, not \"{text}\""))?;
        if unit == "%" {
            return if number <= 100.0 {
                Ok(Self::Percent(number))
            } else {
                Err("a percentage of the host's memory goes up to 100 %".to_owned())
            };
        }
        let is_unit = |(name, _): &&(&str, u64)| {
            name.eq_ignore_ascii_case(unit) || name[..1].eq_ignore_ascii_case(unit)
        };
        let factor = match UNITS.iter().find(is_unit) {
            Some((_, factor)) => *factor,
            None if number == 0.0 && unit.is_empty() => 1,
            None if unit.is_empty() => return Err(format!("\"{text}\" has no unit: {EXPECTED}")),
            None => {
                return Err(format!(
                    "unknown unit \"{unit}\": use KiB, MiB, GiB, TiB or %"
                ));
            }
        };
        #[expect(clippy::cast_precision_loss, reason = "powers of two are exact")]
        let bytes = number * factor as f64;
        if bytes > MOST {
            return Err("sizes go up to 1024 TiB".to_owned());
        }
        Ok(Self::Bytes(bytes))
    }
}

impl TryFrom<String> for Amount {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// An upper limit, or `"none"`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub enum Limit {
    None,
    At(Amount),
}

impl Limit {
    /// The limit in frames, on a host with `host` frames.
    pub fn frames(self, host: u64) -> Option<u64> {
        match self {
            Self::None => None,
            Self::At(amount) => Some(amount.frames(host)),
        }
    }
}

impl TryFrom<String> for Limit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.trim() {
            "none" => Ok(Self::None),
            amount => Ok(Self::At(amount.parse().map_err(|error: String| {
                format!("{error} (or \"none\" for no limit)")
            })?)),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => {
                #[expect(clippy::cast_precision_loss, reason = "powers of two are exact")]
                let (unit, factor) = UNITS
                    .iter()
                    .rev()
                    .map(|(unit, factor)| (unit, *factor as f64))
                    .find(|(_, factor)| bytes >= factor)
                    .unwrap_or((&UNITS[0].0, 1024.0));
                write!(f, "{} {unit}", bytes / factor)
            }
            Self::Percent(percent) => write!(f, "{percent} %"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(text: &str) -> u64 {
        text.parse::<Amount>().unwrap().frames(1000)
    }

    #[test]
    fn sizes_have_units_and_may_be_parts_of_the_host() {
        assert_eq!(frames("512 MiB"), 131_072);
        assert_eq!(frames("512M"), 131_072);
        assert_eq!(frames(" 1.5gib "), 393_216);
        assert_eq!(frames("8 KiB"), 2);
        assert_eq!(frames("0"), 0);
        assert_eq!(frames("10 %"), 100);
        assert_eq!(frames("12.5%"), 125);
        assert_eq!("1536 MiB".parse::<Amount>().unwrap().to_string(), "1.5 GiB");
        assert_eq!("12.5%".parse::<Amount>().unwrap().to_string(), "12.5 %");
    }

    #[test]
    fn what_is_no_size_is_refused_with_the_reason() {
        for (text, said) in [
            ("", "expected a size"),
            ("much", "expected a size"),
            ("-1 MiB", "expected a size"),
            ("1.2.3 MiB", "expected a size"),
            ("512", "no unit"),
            ("512 MB", "unknown unit \"MB\""),
            ("101 %", "up to 100 %"),
            ("2000 TiB", "up to 1024 TiB"),
        ] {
            let error = text.parse::<Amount>().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_limit_may_be_none() {
        assert_eq!(Limit::try_from("none".to_owned()), Ok(Limit::None));
        let limit = Limit::try_from("4 KiB".to_owned()).unwrap();
        assert_eq!(limit.frames(0), Some(1));
        let error = Limit::try_from("all".to_owned()).unwrap_err();
        assert!(error.contains("\"none\""), "{error}");
    }
}
