//! The other everyday steps of `plugins/rows`, as its page shows them.

use engine_end_to_end_tests::{Place, sqlite_count, workspace};
use serde_json::{Value, json};

/// The pipeline of `plugins/rows/README.md` that begins with this line.
fn example(first: &str) -> String {
    let page = std::fs::read_to_string(workspace().join("plugins/rows/README.md")).unwrap();
    let mut blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.find(|block| block.starts_with(first)).unwrap().to_owned()
}

fn lines(place: &Place, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(place.path(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Rows of the incidents of the page: two of the account 0007, and between them one of an account with nothing.
const ACCOUNTS: &str = "\
INCIDENT_ID,CREATED_DTM,ACCOUNT_NUM,ASSET_ID,PRODUCT_NAME,ASSET_ADDRESS,CITY,PROVINCE,ZIP_CODE,EMAIL,\
TECNICAL_CONTACT_EMAIL,MOBILE_CONTACT,WORK_CONTACT,CUSTOMER_REF,CONTACT_PERSON,NIC,CUSTOMER_TYPE,ACCOUNT_STATUS_BSS,\
CREDIT_CLASS_NAME,BILLING_CENTER_NAME,ACCOUNT_PAYMENT_DAT,AP_ACCOUNT_PAYMENT_MNY,LAST_BILL_SEQ,LAST_BILL_DTM
41,2026-11-28T09:30:00.000Z,0007,A1,Fibre,1 Main St,Galle,South,80000,a@b.lk,,0771,,C7,Ann,123V,Person,OK,,Colombo,\
2026-10-01T00:00:00.000Z,100.50,9,2026-10-05T00:00:00.000Z
42,2026-11-28T09:30:00.000Z,0008,,,,,,,,,,,C8,Bob,9V,Person,OK,Gold,Colombo,,,,
41,2026-11-28T09:30:00.000Z,0007,A2,TV,1 Main St,Galle,South,80000,a@b.lk,,0771,,C7,Ann,123V,Person,OK,,Colombo,\
2026-11-02T00:00:00.000Z,20.00,,
";

#[test]
fn the_rows_of_an_account_become_one_document() {
    let place = Place::new();
    place.write("incidents.yaml", example("name: incidents"));
    place.write("accounts.csv", ACCOUNTS);
    place.engine(&["run", "incidents.yaml"]).with_code(0);
    let address = json!({"Street": "1 Main St", "City": "Galle", "Province": "South", "Zip_Code": "80000"});
    let unknown = "1900-01-01T00:00:00.000Z";
    let documents = lines(&place, "incidents.json");
    assert_eq!(
        documents[0],
        json!({
            "Doc_Version": "1.0", "Incident_Id": 41, "Account_Num": "0007", "Created_Dtm": "2026-11-28T09:30:00.000Z",
            "Contact_Details": [{"type": "email", "value": "a@b.lk"}, {"type": "mobile", "value": "0771"}],
            "Product_Details": [
                {"Asset_Id": "A1", "Product_Name": "Fibre", "Address": address},
                {"Asset_Id": "A2", "Product_Name": "TV", "Address": address},
            ],
            "Customer_Details": {"Customer_Ref": "C7", "Contact_Person": "Ann", "Nic": "123V", "Customer_Type": "Person"},
            "Account_Details": {"Status": "OK", "Credit_Class": "unknown", "Billing_Center": "Colombo"},
            "Last_Actions": [{
                "Payment_Dtm": "2026-11-02T00:00:00.000Z", "Payment_Amount": 20.0, "Bill_Seq": null, "Bill_Dtm": unknown,
            }],
        })
    );
    assert_eq!(documents.len(), 2);
    assert_eq!(documents[1]["Account_Details"]["Credit_Class"], "Gold");
    for empty in ["Contact_Details", "Product_Details", "Last_Actions"] {
        assert_eq!(documents[1][empty], json!([]), "{empty}");
    }
}

#[test]
fn rows_that_break_rules_are_kept_hidden_values_stay_hidden_and_the_last_row_of_a_key_goes_on() {
    let mut place = Place::new();
    place.set("REDACT_KEY", "a key of more than sixteen bytes");
    place.write(
        "people.yaml",
        "\
name: people
source: { use: file, with: { path: people.csv }, format: csv }
transforms:
  - use: validate
    with: { rules: { id: { required: true, pattern: \"[0-9]+\" }, name: { length: { max: 5 } } } }
  - use: deduplicate
    with: { key: id, keep: last }
  - use: redact
    with:
      columns: { card: { keep_last: 4 }, name: hash }
      key: \"${env:REDACT_KEY}\"
  - use: nest
    with: { key: id, document: { person: { id: id, card: card, name: name } } }
  - use: flatten
sink: { use: file, with: { path: people.json }, format: json }
",
    );
    place.write("people.csv", "id,name,card\n1,Ann,4111111111111111\nx,Bartholomew,4\n1,12345,4222222222222222\n");
    let ended = place.engine(&["run", "people.yaml"]).with_code(0);
    assert!(!ended.stderr.contains("sixteen bytes") && !ended.stderr.contains("4222"), "{}", ended.stderr);
    let hash = "46bd70bb639f34bcb07f60d52f6c67eee9645fc8b40c94d6f8670839bd194d8d";
    let expected = json!({"person_id": "1", "person_card": "************2222", "person_name": hash});
    assert_eq!(lines(&place, "people.json"), [expected]);
    assert_eq!(place.final_letters(), 1);
}

#[test]
fn a_document_with_a_column_that_is_not_there_says_where_and_leaves_nothing_behind() {
    let place = Place::new();
    place.write("incidents.yaml", example("name: incidents").replace("Nic: NIC", "Nic: NICK"));
    place.write("accounts.csv", ACCOUNTS);
    let ended = place.engine(&["run", "incidents.yaml"]).with_code(2);
    ended.says(&["transforms.0: `document.Customer_Details.Nic`: there is no column `NICK`", "did you mean `NIC`?"]);
    assert!(!place.path("incidents.json").exists());
}

#[test]
fn rows_of_several_splits_meet_in_a_step_that_sees_whole_windows() {
    let place = Place::new();
    place.write("in/1.csv", "a,b\n1,x\n2,y\n");
    place.write("in/2.csv", "a,b\n1,x\n3,z\n");
    place.write("in/3.csv.gz", gzip("a,b\n3,z\n4,w\n"));
    for (name, path, more) in [("plain", "in/*.csv", ""), ("packed", "in/3.csv.gz", "  compression: gzip\n")] {
        place.write(
            &format!("{name}.yaml"),
            format!(
                "source:\n  use: file\n  with: {{ path: \"{path}\" }}\n{more}  format: csv\n\
                 transforms: [{{ use: deduplicate }}]\n\
                 sinks:\n\
                 - {{ use: file, with: {{ path: \"{name}.csv\" }}, format: csv }}\n\
                 - {{ use: sqlite, with: {{ path: {name}.db, table: t, create: true }} }}\n"
            ),
        );
        place.engine(&["run", &format!("{name}.yaml")]).with_code(0);
    }
    assert_eq!(std::fs::read_to_string(place.path("plain.csv")).unwrap(), "a,b\n1,x\n2,y\n3,z\n");
    assert_eq!(sqlite_count(&place.path("plain.db"), "t"), 3);
    assert_eq!(sqlite_count(&place.path("packed.db"), "t"), 2);
    // A file without a record has no columns, and is no part.
    place.write("json/1.json", "");
    place.write("json/2.json", "{\"a\": 1}\n");
    place.write("json/3.json", "");
    place.write(
        "json.yaml",
        "source: { use: file, with: { path: \"json/*.json\" }, format: json }\n\
         transforms: [{ use: deduplicate }]\n\
         sink: { use: sqlite, with: { path: json.db, table: t, create: true } }\n",
    );
    place.engine(&["run", "json.yaml"]).with_code(0);
    assert_eq!(sqlite_count(&place.path("json.db"), "t"), 1);
    // Parts of other columns cannot be one stream.
    place.write("in/4.csv", "a,c\n1,x\n");
    place.engine(&["run", "plain.yaml"]).with_code(2).says(&["have different columns"]);
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}
