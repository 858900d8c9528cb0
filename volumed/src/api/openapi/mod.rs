//! The API described for programs.
use axum::Json;
pub async fn serve() -> Json<serde_json::Value> { Json(serde_json::Value::Null) }
