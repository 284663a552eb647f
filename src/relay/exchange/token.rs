//! `/v1/token`: what is sent and answered over HTTP.

use std::sync::Arc;

use axum::{
    Form, Json, Router,
    extract::{DefaultBodyLimit, State, rejection::FormRejection},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::{Asked, Denial, Exchange, JWT};
use crate::{driver::wall_ms, limits};

/// Bytes of a request beside the token.
const BESIDE_TOKEN_BYTES: usize = 4 * 1024;

/// The routes of a relay with an exchange.
pub(in crate::relay) fn routes(exchange: Arc<Exchange>) -> Router {
    Router::new()
        .route("/v1/token", get(describe).post(token))
        .layer(DefaultBodyLimit::max(limits::SUBJECT_TOKEN_BYTES + BESIDE_TOKEN_BYTES))
        .with_state(exchange)
}

/// What a caller has to know before it can prove anything.
async fn describe(State(exchange): State<Arc<Exchange>>) -> Json<Value> {
    let issuers: Vec<&String> = exchange.issuers.keys().collect();
    Json(json!({ "swarm": exchange.swarm, "issuers": issuers }))
}

async fn token(State(exchange): State<Arc<Exchange>>, form: Result<Form<Asked>, FormRejection>) -> Response {
    let asked = match form {
        Ok(Form(asked)) => asked,
        Err(rejection) => {
            let is_long = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
            // Whatever else is wrong with it (RFC 6749, section 5.2).
            let status = if is_long { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
            return refuse(status, "invalid_request", &rejection.body_text());
        }
    };
    match exchange.exchange(asked, wall_ms() / 1_000).await {
        Ok(issued) => answer(
            StatusCode::OK,
            &json!({
                "access_token": issued.token,
                "issued_token_type": JWT,
                // It is worth nothing without the key (RFC 8693, section 2.2.1).
                "token_type": "N_A",
                "expires_in": issued.life,
            }),
        ),
        Err(denial) => {
            let (status, code) = match denial {
                Denial::Request(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
                Denial::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
                Denial::Operator(_) => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
            };
            refuse(status, code, &denial.to_string())
        }
    }
}

fn refuse(status: StatusCode, code: &str, reason: &str) -> Response {
    answer(status, &json!({ "error": code, "error_description": reason }))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
