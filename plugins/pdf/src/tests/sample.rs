//! A report as a company would send it, and the picture of it in the documentation:
//! `UPDATE=1 cargo test -p engine-plugin-pdf sample`.

use super::*;

const PRODUCTS: [(&str, &str); 12] = [
    ("Dublin", "Office chair “Emerald”, mesh back"),
    ("Київ", "Настільна лампа, тепле світло"),
    ("Αθήνα", "Γραφείο εργασίας 160 × 80 cm"),
    ("دبي", "مكتب تنفيذي من خشب الجوز"),
    ("मुंबई", "कार्यालय की कुर्सी, नीला कपड़ा"),
    ("කොළඹ", "ලී මේසය, ශ්‍රී ලංකාවේ නිෂ්පාදිත"),
    ("சென்னை", "புத்தக அலமாரி, ஐந்து தட்டுகள்"),
    ("Zürich", "Höhenverstellbarer Schreibtisch mit Kabelkanal und Fußstütze, Eiche geölt"),
    ("القاهرة", "كرسي اجتماعات (طقم 4)"),
    ("São Paulo", "Luminária de mesa LED"),
    ("दिल्ली", "लकड़ी की अलमारी"),
    ("Kandy", "Desk organiser / මේස සංවිධායකය"),
];

/// A logo: a ring on nothing, as PNG.
fn logo() -> Vec<u8> {
    const SIDE: i32 = 160;
    let pixel = |x: i32, y: i32| {
        let (x, y) = (f64::from(x) - 79.5, f64::from(y) - 79.5);
        let distance = x.hypot(y);
        let ring = (78.0 - distance).clamp(0.0, 1.0) * (distance - 52.0).clamp(0.0, 1.0);
        let bar = (10.0 - (x + y).abs() / 1.4).clamp(0.0, 1.0) * (66.0 - distance).clamp(0.0, 1.0);
        let colour: [u8; 3] = if bar > ring { [224, 122, 48] } else { [31, 78, 121] };
        [colour[0], colour[1], colour[2], (ring.max(bar) * 255.0) as u8]
    };
    let rows: Vec<Vec<u8>> =
        (0..SIDE).map(|y| [vec![0], (0..SIDE).flat_map(|x| pixel(x, y)).collect()].concat()).collect();
    super::looks::png(SIDE as u32, SIDE as u32, 8, 6, &[], &rows)
}

fn sales() -> RecordBatch {
    let mut random = Random(2026);
    let rows: Vec<(i32, usize, i64, i128)> = (0..260)
        .map(|at| {
            let product = (random.below(12).min(random.below(14)) as usize).min(11);
            let orders = 1 + random.below(40) as i64;
            (20_454 + at / 3, product, orders, i128::from(orders) * (4_900 + i128::from(random.below(60_000))))
        })
        .collect();
    batch(&[
        ("number", integers(10_001..10_261)),
        ("day", days(rows.iter().map(|row| row.0))),
        ("city", texts(rows.iter().map(|row| PRODUCTS[row.1].0))),
        ("product", texts(rows.iter().map(|row| PRODUCTS[row.1].1))),
        ("orders", integers(rows.iter().map(|row| row.2))),
        ("amount", amounts(rows.iter().map(|row| row.3))),
    ])
}

#[test]
fn a_sample_report() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("logo.png"), logo()).unwrap();
    let host = Host::in_folder(folder.path());
    let config = json!({
        "title": "Sales, first quarter",
        "subtitle": "January to March 2026 · all branches",
        "description": "Orders that were confirmed until the last day of the quarter. Amounts are net, in euros; \
                        returns of the quarter are taken off in the month in which they came.",
        "parameters": {
            "Period": "2026-01-01 – 2026-03-31", "Made for": "The board", "Branches": "12 in 10 countries",
            "Currency": "EUR",
        },
        "logo": "logo.png", "date": "2026-04-01",
        "titles": {
            "number": "No.", "day": "Date", "city": "Branch", "product": "Product", "orders": "Orders",
            "amount": "Amount",
        },
        "formats": {"day": "d mmm yyyy", "amount": "#,##0.00", "orders": "#,##0"},
        "totals": {"orders": "sum", "amount": "sum"}, "summary": true, "rows_label": "Lines",
        "chart": {"type": "bar", "x": "city", "y": "amount", "top": 8, "title": "Amount by branch, EUR"},
    });
    let report = Report::of(written(&host, config, vec![sales()]).unwrap());
    assert!(host.log().is_empty(), "{:?}", host.log());
    let text = report.text();
    for (city, product) in PRODUCTS {
        assert!(text.contains(city), "{city} is not in:\n{text}");
        // Long ones are wrapped.
        for word in product.split(' ').take(2) {
            assert!(text.contains(word), "{word} is not in:\n{text}");
        }
    }
    assert!(text.contains("Page 1 of") && report.pages() > 3);
    if std::env::var_os("UPDATE").is_some() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let place = root.join("docs/images/report-pdf");
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        let place = place.display().to_string();
        run(
            "pdftoppm",
            "poppler-utils",
            &["-png", "-r", "80", "-f", "1", "-l", "1", "-singlefile", &report.path(), &place],
        );
        if let Some(copy) = std::env::var_os("REPORT") {
            std::fs::copy(report.path(), copy).unwrap();
        }
    }
}
