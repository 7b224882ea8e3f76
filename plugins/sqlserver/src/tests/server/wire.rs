//! TDS as bytes: what a client sends, read; what a server answers, written.

use rusqlite::types::Value;

use super::types::{self, Type};

/// Reads what a client has sent.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        head
    }

    pub fn u8(&mut self) -> u8 {
        self.bytes(1)[0]
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.bytes(2).try_into().unwrap())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes(8).try_into().unwrap())
    }

    pub fn utf16(&mut self, units: usize) -> String {
        utf16(self.bytes(units * 2))
    }

    /// A name, with its length in one byte.
    pub fn name(&mut self) -> String {
        let units = self.u8().into();
        self.utf16(units)
    }

    /// What precedes batches and calls: transactions.
    pub fn headers(&mut self) {
        let length = self.u32() as usize;
        self.bytes(length - 4);
    }

    /// A type, as parameters and columns have it.
    pub fn type_info(&mut self) -> Sent {
        let token = self.u8();
        match token {
            0x26 | 0x68 | 0x6d | 0x24 | 0x6f => {
                self.u8();
                Sent { token, scale: 0, is_max: false }
            }
            0x6a | 0x6c => {
                self.bytes(2);
                Sent { token, scale: self.u8(), is_max: false }
            }
            0x29..=0x2b => Sent { token, scale: self.u8(), is_max: false },
            0xe7 => {
                let length = self.u16();
                self.bytes(5);
                Sent { token, scale: 0, is_max: length == 0xffff }
            }
            0xa5 => Sent { token, scale: 0, is_max: self.u16() == 0xffff },
            0x1f | 0x28 | 0x38 => Sent { token, scale: 0, is_max: false },
            other => panic!("the stand-in does not know type {other:#x}"),
        }
    }

    /// The value behind a type.
    pub fn value(&mut self, sent: Sent) -> Value {
        let bytes = match sent.token {
            0x1f => None,
            0x38 => Some(self.bytes(4)),
            0xe7 | 0xa5 if sent.is_max => return self.parts().map_or(Value::Null, |bytes| sent.value(&bytes)),
            0xe7 | 0xa5 => match self.u16() {
                0xffff => None,
                length => Some(self.bytes(length.into())),
            },
            _ => match self.u8() {
                0 => None,
                length => Some(self.bytes(length.into())),
            },
        };
        bytes.map_or(Value::Null, |bytes| sent.value(bytes))
    }

    /// A value of any length, which comes in parts.
    fn parts(&mut self) -> Option<Vec<u8>> {
        if self.u64() == u64::MAX {
            return None;
        }
        let mut all = vec![];
        loop {
            match self.u32() {
                0 => return Some(all),
                length => all.extend_from_slice(self.bytes(length as usize)),
            }
        }
    }
}

/// A type that a client has sent.
#[derive(Clone, Copy)]
pub struct Sent {
    token: u8,
    scale: u8,
    is_max: bool,
}

impl Sent {
    fn value(self, bytes: &[u8]) -> Value {
        let whole = |bytes: &[u8]| bytes.iter().rev().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        match self.token {
            0x26 | 0x38 | 0x68 => Value::Integer(match bytes.len() {
                1 => bytes[0].into(),
                2 => i16::from_le_bytes(bytes.try_into().unwrap()).into(),
                4 => i32::from_le_bytes(bytes.try_into().unwrap()).into(),
                _ => i64::from_le_bytes(bytes.try_into().unwrap()),
            }),
            0x6d if bytes.len() == 4 => Value::Real(f32::from_le_bytes(bytes.try_into().unwrap()).into()),
            0x6d => Value::Real(f64::from_le_bytes(bytes.try_into().unwrap())),
            0x6a | 0x6c => {
                let number = whole(&bytes[1..]) as i128;
                Value::Text(types::decimal_text(if bytes[0] == 0 { -number } else { number }, self.scale))
            }
            0x28 => Value::Text(types::day_text(whole(bytes) as i64)),
            0x29 => Value::Text(types::time_text(whole(bytes) as i64 * 10_i64.pow(7 - u32::from(self.scale)))),
            0x2a | 0x2b => {
                let zone = if self.token == 0x2b { 2 } else { 0 };
                let day = bytes.len() - 3 - zone;
                let ticks = whole(&bytes[..day]) as i64 * 10_i64.pow(7 - u32::from(self.scale));
                let moment =
                    format!("{} {}", types::day_text(whole(&bytes[day..day + 3]) as i64), types::time_text(ticks));
                Value::Text(if zone > 0 { moment + " +00:00" } else { moment })
            }
            0xe7 => Value::Text(utf16(bytes)),
            0xa5 => Value::Blob(bytes.to_vec()),
            other => panic!("the stand-in does not know type {other:#x}"),
        }
    }
}

fn utf16(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    char::decode_utf16(units).map(|unit| unit.unwrap_or('\u{fffd}')).collect()
}

/// Writes what a server answers.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    fn u16(&mut self, number: u16) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn utf16(&mut self, text: &str) {
        text.encode_utf16().for_each(|unit| self.u16(unit));
    }

    fn name(&mut self, text: &str) {
        self.0.push(text.encode_utf16().count() as u8);
        self.utf16(text);
    }

    /// A token whose length stands before it.
    fn token(&mut self, token: u8, body: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        body(&mut inner);
        self.0.push(token);
        self.u16(inner.0.len() as u16);
        self.0.extend_from_slice(&inner.0);
    }

    pub fn error(&mut self, number: u32, class: u8, message: &str) {
        self.token(0xaa, |body| {
            body.u32(number);
            body.0.extend_from_slice(&[1, class]);
            body.u16(message.encode_utf16().count() as u16);
            body.utf16(message);
            body.name("stand-in");
            body.name("");
            body.u32(1);
        });
    }

    pub fn login(&mut self, database: &str) {
        self.token(0xe3, |body| {
            body.0.push(1);
            body.name(database);
            body.name("master");
        });
        self.token(0xad, |body| {
            body.0.extend_from_slice(&[1, 0x74, 0, 0, 4]);
            body.name("stand-in");
            body.0.extend_from_slice(&[16, 0, 3, 232]);
        });
    }

    /// Sends the client on to another address.
    pub fn routing(&mut self, host: &str, port: u16) {
        self.token(0xe3, |body| {
            body.0.push(20);
            body.u16(5 + 2 * host.encode_utf16().count() as u16);
            body.0.push(0);
            body.u16(port);
            body.u16(host.encode_utf16().count() as u16);
            body.utf16(host);
            body.u16(0);
        });
    }

    /// A transaction has begun (8), was committed (9) or rolled back (10).
    pub fn transaction(&mut self, change: u8) {
        const DESCRIPTOR: [u8; 9] = [8, 1, 0, 0, 0, 0, 0, 0, 0];
        self.token(0xe3, |body| {
            body.0.push(change);
            if change == 8 {
                body.0.extend_from_slice(&DESCRIPTOR);
                body.0.push(0);
            } else {
                body.0.push(0);
                body.0.extend_from_slice(&DESCRIPTOR);
            }
        });
    }

    /// The end of an answer: `token` is that of a batch or of a call.
    pub fn done(&mut self, token: u8, is_error: bool) {
        if token == 0xfe {
            self.0.push(0x79);
            self.u32(0);
        }
        self.0.push(token);
        self.u16(if is_error { 2 } else { 0 });
        self.0.extend_from_slice(&[0; 10]);
    }

    pub fn columns(&mut self, columns: &[(String, Type)]) {
        self.0.push(0x81);
        self.u16(columns.len() as u16);
        for (name, kind) in columns {
            self.u32(0);
            // May be null, may be written to.
            self.u16(if *kind == Type::FixedInt { 8 } else { 9 });
            self.0.extend_from_slice(&kind.info());
            self.name(name);
        }
    }

    pub fn row(&mut self, columns: &[(String, Type)], values: &[Value]) {
        self.0.push(0xd1);
        for ((_, kind), value) in columns.iter().zip(values) {
            kind.write(value, &mut self.0);
        }
    }
}
