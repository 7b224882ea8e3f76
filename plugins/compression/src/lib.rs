//! Compressions: what stands between the files of a source or a sink and their
//! format. Files come in piece by piece and go out piece by piece, one after the
//! other and under their names; neither side of a file is ever held whole in memory.

mod archive;
mod decode;
mod encode;
mod gzip;
mod method;
mod pieces;
#[cfg(test)]
mod tests;
mod zstd;

pub use archive::Zip;
pub use gzip::Gzip;
pub use zstd::Zstd;

engine_sdk::module!("compression": format "gzip" => Gzip, format "zstd" => Zstd, format "zip" => Zip);
