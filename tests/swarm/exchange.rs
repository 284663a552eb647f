//! Tokens of an identity provider for credentials of the swarm: what is given, and to whom nothing is.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use aepoch::{
    id::DocumentId,
    tier::Tier,
    trust::{credential::admit, key::PrivateKey, pattern::Right},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    authority::{Authority, write_secret},
    idp::{Office, b64, claims, form, holder, now, post, refused, with},
};

#[tokio::test]
async fn a_token_of_either_kind_becomes_a_credential_bound_to_the_key_that_was_proved() {
    let office = Office::new();
    let relay = office.builder().open().await.unwrap();
    for header in [r#"{"alg":"RS256","kid":"r","typ":"JWT"}"#, r#"{"alg":"ES256","kid":"e","x5t":"hint"}"#] {
        let token = office.idp.sign(header, &with("aud", json!(["other", "aepoch"])).to_string());
        let (status, answer) = post(&relay, &office.form(&token)).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["issued_token_type"], "urn:ietf:params:oauth:token-type:jwt");
        let credential = answer["access_token"].as_str().unwrap();
        let admitted = admit(credential, &office.swarm(), office.policy(), now()).unwrap();
        assert_eq!((admitted.agent.as_str(), admitted.tier), ("planner", Tier::BETA));
        assert_eq!(admitted.key, holder().public());
        let room = DocumentId::new("band/stage").unwrap();
        assert!(admitted.allows(&room, Right::Write) && !admitted.allows(&room, Right::Admin));
    }
    // It ends with the token, when that is sooner than the life granted.
    let brief = office.idp.token(&with("exp", json!(now() + 100)));
    let (_, answer) = post(&relay, &office.form(&brief)).await;
    assert!((80..=100).contains(&answer["expires_in"].as_u64().unwrap()), "{answer}");
}

#[tokio::test]
async fn a_token_that_is_not_exactly_what_the_issuer_signed_for_us_now_is_refused() {
    let office = Office::new();
    let relay = office.builder().open().await.unwrap();
    let idp = &office.idp;
    // Once: they name the second they were made in.
    let all = claims();
    let (body, good) = (all.to_string(), idp.token(&all));
    let doubled = body.replacen('{', r#"{"sub":"admin","#, 1);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let hmac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &idp.modulus());
    let symmetric = format!("{}.{}", b64(r#"{"alg":"HS256","kid":"r"}"#), b64(&body));
    let symmetric = format!("{symmetric}.{}", b64(ring::hmac::sign(&hmac, symmetric.as_bytes())));
    let rs256 = |more: &str| idp.sign(&format!(r#"{{"alg":"RS256","kid":"r"{more}}}"#), &body);
    let of = |name: &str, value: Value| idp.token(&with(name, value));
    let missing = |name: &str| idp.token(&with(name, Value::Null));
    for (token, said) in [
        (format!("{}.{}.", b64(r#"{"alg":"none","kid":"r"}"#), b64(&body)), "`alg` is \"none\""),
        (symmetric, "`alg` is \"HS256\""),
        (idp.sign(r#"{"alg":"EdDSA","kid":"ed"}"#, &body), "`alg` is \"EdDSA\""),
        (idp.sign(r#"{"kid":"r"}"#, &body), "`alg` is missing"),
        (rs256(r#","jwk":{"kty":"RSA"}"#), "`jwk` is refused"),
        (rs256(r#","jku":"https://evil.example""#), "`jku` is refused"),
        (rs256(r#","x5u":"https://evil.example""#), "`x5u` is refused"),
        (rs256(r#","x5c":[]"#), "`x5c` is refused"),
        (rs256(r#","crit":["exp"]"#), "`crit` is refused"),
        (rs256(r#","typ":"agent+jwt""#), "`typ` is \"agent+jwt\""),
        (rs256(r#","kid":"r""#), "`kid` stands twice"),
        (idp.sign(r#"{"alg":"RS256"}"#, &body), "`kid` is missing"),
        (idp.sign(r#"{"alg":"RS256","kid":"other"}"#, &body), "no key `other`"),
        (idp.sign(r#"{"alg":"RS256","kid":"encryption"}"#, &body), "no key `encryption`"),
        (idp.sign(r#"{"alg":"RS256","kid":"e"}"#, &body), "no key `e`"),
        (idp.sign(r#"{"alg":"ES256","kid":"r"}"#, &body), "no key `r`"),
        (format!("{signed}.{}", b64([1; 256])), "not that of the key `r`"),
        (format!("{}.{signature}", signed.replace(&b64(&body), &b64(&doubled))), "`sub` stands twice"),
        (idp.sign(r#"{"alg":"RS256","kid":"r"}"#, &doubled), "`sub` stands twice"),
        (format!("{signed}.{signature}=="), "not canonical"),
        (signed.to_owned(), "this has 2"),
        (of("iss", json!("https://other.example")), "no tokens of \"https://other.example\""),
        (missing("iss"), "no tokens of missing"),
        (of("aud", json!("other")), "`aud` is \"other\""),
        (of("aud", json!(["other", "aepoch2"])), "`aud` is [\"other\",\"aepoch2\"]"),
        (missing("aud"), "`aud` is missing"),
        (of("exp", json!(now() - 1)), "expired at"),
        (missing("exp"), "`exp` is missing"),
        (of("exp", json!((now() + 600).to_string())), "must be whole seconds"),
        (of("exp", json!(now() as f64 + 600.5)), "must be whole seconds"),
        (of("nbf", json!(now() + 120)), "not valid yet"),
        (of("iat", json!(now() + 120)), "not valid yet"),
        (of("sub", json!("Not An Agent")), "no agent here"),
        (of("sub", json!(7)), "`sub` is 7, must be text"),
        (of("group", json!("x".repeat(12_500))), "over the limit of 16384"),
    ] {
        let reason = refused(&relay, 400, &office.form(&token)).await;
        assert!(reason.contains(said), "wanted `{said}`, got `{reason}`");
    }
    assert_eq!(post(&relay, &office.form(&good)).await.0, 200);
    let huge = refused(&relay, 413, &office.form(&"x".repeat(64 * 1024))).await;
    assert!(huge.contains("limit"), "{huge}");
}

#[tokio::test]
async fn nobody_gets_a_credential_for_a_key_without_proving_it_here_and_now() {
    let office = Office::new();
    let relay = office.builder().open().await.unwrap();
    let (token, other) = (office.idp.token(&claims()), office.idp.token(&with("jti", json!("2"))));
    let (key, thief, time) = (holder().public(), PrivateKey::from_seed(&[22; 32]), now());
    let proof = |form: String| form.split("&proof=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let elsewhere = aepoch::trust::exchange::proof(&office.policy().next().hash(), &key, time, &token);
    for (form, said) in [
        (office.form_at(&token, time, &key, &thief), "is not the signature of"),
        (form(&token, time, &thief.public(), &proof(office.form(&token))), "is not the signature of"),
        (form(&token, time, &key, &proof(office.form(&other))), "is not the signature of"),
        (
            form(&token, time + 1, &key, &proof(office.form_at(&token, time, &key, &holder()))),
            "is not the signature of",
        ),
        (form(&token, time, &key, &b64(holder().sign(&elsewhere))), "is not the signature of"),
        (form(&token, time, &key, "short"), "no signature in base64url"),
        (office.form_at(&token, time - 120, &key, &holder()), "the limit is 60 s apart"),
        (office.form_at(&token, time + 120, &key, &holder()), "the limit is 60 s apart"),
        (office.form_at(&token, u64::MAX, &key, &holder()), "the limit is 60 s apart"),
        (office.form(&token).replace("token-exchange", "password"), "`grant_type` must be"),
        (office.form(&token).replace("token-type%3Ajwt", "token-type%3Asaml2"), "`subject_token_type` must be"),
    ] {
        let reason = refused(&relay, 400, &form).await;
        assert!(reason.contains(said), "wanted `{said}`, got `{reason}`");
    }
    for form in [
        office.form(&token).replace("&proof=", "&pr00f="),
        office.form(&token).replace("public_key=", "public_key=A"),
        format!("{}&public_key={}", office.form(&token), thief.public()),
        String::new(),
    ] {
        refused(&relay, 400, &form).await;
    }
    assert_eq!(post(&relay, &office.form(&token)).await.0, 200);
}

#[tokio::test]
async fn names_are_mapped_and_unknown_ones_refused() {
    let office = Office::new();
    office.configure(json!({
        "claim": "email", "agents": { "p@idp.example": "planner-1" }, "tier": "gamma", "life_seconds": 60, "pass_on": 1,
    }));
    let relay = office.builder().open().await.unwrap();
    let (status, answer) = post(&relay, &office.form(&office.idp.token(&with("email", json!("p@idp.example"))))).await;
    assert_eq!((status, &answer["expires_in"]), (200, &json!(60)), "{answer}");
    let credential = answer["access_token"].as_str().unwrap();
    let admitted = admit(credential, &office.swarm(), office.policy(), now()).unwrap();
    assert_eq!((admitted.agent.as_str(), admitted.tier), ("planner-1", Tier::GAMMA));
    let reason = refused(&relay, 400, &office.form(&office.idp.token(&with("email", json!("planner-1"))))).await;
    assert!(reason.contains("no agent here"), "{reason}");
    let reason = refused(&relay, 400, &office.form(&office.idp.token(&claims()))).await;
    assert!(reason.contains("`email` is missing"), "{reason}");
}

#[tokio::test]
async fn the_policy_in_force_has_the_last_word() {
    let office = Office::new();
    let relay = office.builder().open().await.unwrap();
    let token = office.idp.token(&claims());
    assert_eq!(post(&relay, &office.form(&token)).await.0, 200);
    let mut second = office.policy().next();
    second.allow = Some(BTreeSet::from(["somebody".parse().unwrap()]));
    office.write_policy(std::slice::from_ref(&second));
    let reason = refused(&relay, 400, &office.form(&token)).await;
    assert!(reason.contains("not on the policy's list"), "{reason}");
    let mut third = second.next();
    third.allow = None;
    third.issuers.clear();
    office.write_policy(&[second, third]);
    let reason = refused(&relay, 500, &office.form(&token)).await;
    assert!(reason.contains("is no issuer of version 3"), "{reason}");
    let error = office.builder().open().await.unwrap_err().to_string();
    assert!(error.contains("is no issuer of version 3"), "{error}");
    office.write_policy(&[]);
    office.configure(json!({ "tier": "alpha" }));
    let relay = office.builder().open().await.unwrap();
    let reason = refused(&relay, 500, &office.form(&token)).await;
    assert!(reason.contains("beta at most, not alpha"), "{reason}");
}

/// Serves a set of keys over TLS; counts how often it was asked.
async fn serve_keys(authority: &Authority, keys: Arc<std::sync::Mutex<Value>>, asked: Arc<AtomicU32>) -> String {
    let chain = vec![CertificateDer::from_pem_file(authority.path("relay.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(authority.path("relay.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/keys?set=1", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        loop {
            let Ok(mut stream) = acceptor.accept(listener.accept().await.unwrap().0).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {}
            assert!(request.starts_with(b"GET /keys?set=1 HTTP/1.0\r\nHost: localhost"));
            asked.fetch_add(1, Ordering::Relaxed);
            let body = keys.lock().unwrap().to_string();
            let answer = if body == "null" {
                "HTTP/1.0 503 No\r\n\r\n".to_owned()
            } else {
                format!("HTTP/1.0 200 OK\r\n\r\n{body}")
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    url
}

#[tokio::test]
async fn keys_are_fetched_kept_and_looked_for_again_but_not_at_every_callers_word() {
    let (office, authority) = (Office::new(), Authority::new());
    let (keys, asked) = (Arc::new(std::sync::Mutex::new(Value::Null)), Arc::new(AtomicU32::new(0)));
    let url = serve_keys(&authority, keys.clone(), asked.clone()).await;
    let token = office.idp.token(&claims());
    let unknown = office.idp.sign(r#"{"alg":"RS256","kid":"new"}"#, &claims().to_string());
    let mut renamed = office.idp.jwks();
    renamed["keys"][0]["kid"] = json!("new");

    office.configure(json!({ "jwks": url, "jwks_ca": authority.file(), "jwks_pause": 0 }));
    let relay = office.builder().open().await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 0, "nobody has shown a token yet");
    let reason = refused(&relay, 503, &office.form(&token)).await;
    assert!(reason.contains("cannot be had now"), "{reason}");
    *keys.lock().unwrap() = office.idp.jwks();
    for _ in 0..3 {
        assert_eq!(post(&relay, &office.form(&token)).await.0, 200);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2, "what is known is not asked for again");
    *keys.lock().unwrap() = renamed;
    assert_eq!(post(&relay, &office.form(&unknown)).await.0, 200);
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    let reason = refused(&relay, 400, &office.form(&token)).await;
    assert!(reason.contains("no key `r`"), "withdrawn: {reason}");

    // With a pause, as it is unless set.
    asked.store(0, Ordering::Relaxed);
    office.configure(json!({ "jwks": url, "jwks_ca": authority.file() }));
    let relay = office.builder().open().await.unwrap();
    assert_eq!(post(&relay, &office.form(&unknown)).await.0, 200);
    for n in 0..20 {
        let made_up = office.idp.sign(&format!(r#"{{"alg":"RS256","kid":"{n}"}}"#), &claims().to_string());
        refused(&relay, 400, &office.form(&made_up)).await;
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "callers make up names as they like");

    // Whoever else answers at that address is not believed.
    office.configure(json!({ "jwks": url }));
    let relay = office.builder().open().await.unwrap();
    refused(&relay, 503, &office.form(&unknown)).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_meant_is_refused_at_the_start() {
    let office = Office::new();
    let error = async || office.builder().open().await.map(drop).unwrap_err().to_string();
    let whole = std::fs::read_to_string(office.path("exchange.json")).unwrap();
    let twice = whole.replacen('{', r#"{"policy":"other.json","#, 1);
    for (text, said) in [("{}", "missing field"), (&*twice, "`policy` stands twice"), ("[", "EOF")] {
        std::fs::write(office.path("exchange.json"), text).unwrap();
        let error = error().await;
        assert!(error.contains(said) && error.contains("exchange.json"), "{error}");
    }
    for (settings, said) in [
        (json!({ "jwks": "http://idp.example/keys" }), "must start with https://"),
        (json!({ "jwks": "nowhere.json" }), "nowhere.json"),
        (json!({ "tier": "omega" }), "omega"),
        (json!({ "audiences": ["aepoch"] }), "unknown field `audiences`"),
    ] {
        office.configure(settings);
        let error = error().await;
        assert!(error.contains(said), "{error}");
    }
    office.configure(json!({}));
    let mut doubled = office.idp.jwks();
    let first = doubled["keys"][0].clone();
    doubled["keys"].as_array_mut().unwrap().push(first);
    office.write("jwks.json", &doubled);
    assert!(error().await.contains("the key `r` stands twice"));
    let mut short = office.idp.jwks();
    short["keys"][1]["x"] = json!("AAAA");
    office.write("jwks.json", &short);
    assert!(error().await.contains("the key `e` is malformed"));
    office.write("jwks.json", &office.idp.jwks());
    write_secret(&office.path("issuer.key"), &PrivateKey::from_seed(&[9; 32]).to_jwk());
    assert!(error().await.contains("is no issuer of version 1"));
    #[cfg(unix)]
    {
        crate::authority::set_mode(&office.path("issuer.key"), 0o644);
        let error = error().await;
        assert!(error.contains("issuer.key") && error.contains("mode 644"), "{error}");
    }
}

#[tokio::test]
async fn a_relay_without_an_exchange_has_no_such_address() {
    let relay = aepoch::Relay::builder().listen("127.0.0.1:0").open().await.unwrap();
    assert_eq!(post(&relay, "").await.0, 404);
}
