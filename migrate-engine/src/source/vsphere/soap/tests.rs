//! Trees, calls and faults, as vCenter, hosts and simulators write them.

use hyper::{HeaderMap, StatusCode};

use super::super::http::Answer;
use super::super::reference::Reference;
use super::{Call, SoapError, Xml, XmlError, parse, read};

fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: body.to_owned().into(),
    }
}

#[test]
fn the_kind_of_a_reference_is_the_type_without_a_prefix() {
    for prefix in ["xsi", "_XMLSchema-instance", "XMLSchema-instance", "ns2"] {
        for (a, b) in [(0, 1), (1, 0)] {
            let types = [
                format!(" {prefix}:type=\"vim25:ManagedObjectReference\""),
                " type=\"Folder\"".to_owned(),
            ];
            let text = format!("<val{}{}> group-v3\n</val>", types[a], types[b]);
            let element = parse(text.as_bytes()).unwrap();
            assert_eq!(
                Reference::of(&element),
                Some(Reference::new("Folder", "group-v3"))
            );
            assert_eq!(element.xsi_type(), "ManagedObjectReference");
        }
    }
}

#[test]
fn prefixes_unknown_elements_and_entities_do_no_harm() {
    let text = "\u{feff}<?xml version=\"1.0\"?><!-- x --><a:r xmlns:a=\"u\"><a:name>x &amp;&#65;<![CDATA[<b>]]></a:name>\
                <new b=\"1\"><deep/></new><flag>true</flag><n> 12 </n></a:r>";
    let root = parse(text.as_bytes()).unwrap();
    assert_eq!(root.name, "r");
    assert_eq!(root.child_text("name"), Some("x &A<b>"));
    assert_eq!(root.child_flag("flag"), Some(true));
    assert_eq!(root.child_number::<u8>("n"), Some(12));
    assert_eq!(root.child_number::<u8>("name"), None);
    assert!(root.at(&["new", "deep"]).is_some());
}

#[test]
fn broken_hostile_and_endless_texts_are_refused() {
    let deep = "<a>".repeat(1000) + &"</a>".repeat(1000);
    for text in [
        "",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "text",
        "<a b=>",
        &deep,
        "<a>&x;</a>",
    ] {
        let shown: String = text.chars().take(20).collect();
        assert!(parse(text.as_bytes()).is_err(), "{shown}");
    }
    let bomb = "<!DOCTYPE r [<!ENTITY a \"aaaa\">]><r>&a;</r>";
    assert!(matches!(parse(bomb.as_bytes()), Err(XmlError::DocumentType)));
    assert!(matches!(parse(b"<a>\xff</a>"), Err(XmlError::Encoding)));
}

#[test]
fn arguments_cannot_break_out_of_their_elements() {
    let hostile = "</name><evil/>&\"'";
    let arguments = Xml::new()
        .text("name", hostile)
        .reference("snapshot", &Reference::new("A\"B", "<x>"));
    let call = Call::changing("Do", &Reference::machine("vm-1"), arguments);
    let root = parse(call.document().as_bytes()).unwrap();
    let method = root.at(&["Body", "Do"]).unwrap();
    assert_eq!(method.children.len(), 3);
    assert_eq!(
        method.child("_this").and_then(Reference::of),
        Some(Reference::machine("vm-1"))
    );
    assert_eq!(method.child("name").unwrap().text, hostile);
    assert_eq!(
        method.child("snapshot").and_then(Reference::of),
        Some(Reference::new("A\"B", "<x>"))
    );
}

fn refusal(detail: &str) -> String {
    format!(
        "<soapenv:Envelope xmlns:soapenv=\"s\"><soapenv:Body><soapenv:Fault><faultcode>ServerFaultCode</faultcode>\
         <faultstring>*types.Some</faultstring>{detail}</soapenv:Fault></soapenv:Body></soapenv:Envelope>"
    )
}

#[test]
fn faults_are_told_apart_by_type_whatever_the_text_says() {
    let kind = |detail: &str| match read("Do", &answer(500, &refusal(detail))) {
        Err(SoapError::Fault(fault)) => (fault.kind().to_owned(), fault.detail("name").map(str::to_owned)),
        other => panic!("{other:?}"),
    };
    // As vCenter, as a simulator, without a type, and without anything.
    assert_eq!(
        kind(
            "<detail><InvalidPropertyFault xsi:type=\"InvalidProperty\"><name>config.x</name></InvalidPropertyFault></detail>"
        ),
        ("InvalidProperty".to_owned(), Some("config.x".to_owned()))
    );
    assert_eq!(
        kind("<detail><Fault _XMLSchema-instance:type=\"InvalidLogin\"></Fault></detail>").0,
        "InvalidLogin"
    );
    assert_eq!(
        kind("<detail><NotAuthenticatedFault/></detail>").0,
        "NotAuthenticated"
    );
    assert_eq!(kind("").0, "Fault");
}

#[test]
fn a_result_is_only_what_answers_this_method() {
    let envelope = |inner: &str| format!("<e:Envelope xmlns:e=\"s\"><e:Body>{inner}</e:Body></e:Envelope>");
    let result = read(
        "Do",
        &answer(
            200,
            &envelope("<DoResponse><returnval>1</returnval></DoResponse>"),
        ),
    );
    assert_eq!(result.unwrap().child_text("returnval"), Some("1"));
    let refused = |status, body: &str| read("Do", &answer(status, body)).unwrap_err();
    assert!(matches!(
        refused(200, &envelope("<OtherResponse/>")),
        SoapError::Shape
    ));
    assert!(matches!(refused(200, "<html/>"), SoapError::Shape));
    assert!(matches!(refused(200, "<html>"), SoapError::Xml(_)));
    assert!(matches!(
        refused(503, "Service Unavailable"),
        SoapError::Status(503)
    ));
    assert!(matches!(refused(404, "<html/>"), SoapError::Status(404)));
    assert!(matches!(
        refused(500, &envelope("<DoResponse/>")),
        SoapError::Status(500)
    ));
    assert!(matches!(refused(200, &refusal("")), SoapError::Fault(_)));
}
