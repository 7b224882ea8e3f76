//! Which algorithms a connection may use.

use std::borrow::Cow;

use russh::keys::Algorithm;
use russh::{Preferred, cipher, compression, kex, mac};

/// The algorithms, the better ones first; nothing with SHA-1, CBC, or a modulus below 2048 bits.
const KEX: [kex::Name; 13] = [
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_GEX_SHA256,
    kex::DH_G16_SHA512,
    kex::DH_G18_SHA512,
    kex::DH_G15_SHA512,
    kex::DH_G14_SHA256,
    // These two say what else the engine can.
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];
/// The first two are the fastest, by far.
const CIPHERS: [cipher::Name; 6] = [
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_CTR,
    cipher::AES_192_CTR,
    cipher::AES_256_CTR,
];
const MACS: [mac::Name; 4] = [mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];

const WEAK_KEX: [kex::Name; 3] = [kex::DH_GEX_SHA1, kex::DH_G14_SHA1, kex::DH_G1_SHA1];
const WEAK_CIPHERS: [cipher::Name; 3] = [cipher::AES_256_CBC, cipher::AES_192_CBC, cipher::AES_128_CBC];
const WEAK_MACS: [mac::Name; 2] = [mac::HMAC_SHA1_ETM, mac::HMAC_SHA1];

fn with_weak<T: Clone>(good: &[T], weak: &[T], use_weak: bool) -> Cow<'static, [T]> {
    good.iter().chain(weak.iter().filter(|_| use_weak)).cloned().collect()
}

/// What is offered to a server, with those kinds of host keys.
pub fn preferred(host_keys: &[Algorithm], weak: bool) -> Preferred {
    Preferred {
        kex: with_weak(&KEX, &WEAK_KEX, weak),
        key: host_keys.to_vec().into(),
        cipher: with_weak(&CIPHERS, &WEAK_CIPHERS, weak),
        mac: with_weak(&MACS, &WEAK_MACS, weak),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    }
}
