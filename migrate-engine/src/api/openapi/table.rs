//! Every request that the service answers, but those of its own workers.

use utoipa::openapi::schema::Type;

use super::super::job::JobView;
use super::super::problem::Code::{
    self, IdempotencyKeyReused, Internal, InvalidRequest, JobNotFound, NameTaken, ReplicationInProgress,
    ScheduleBeingStarted, ScheduleNotFound, SourceCertificate, SourceCredentials, SourceFailed,
    SourceNotFound, SourceUnreachable, TransferNotFound, UnknownConfig, VmAmbiguous, VmChanged, VmNotFound,
    VmRefused, WorkerAway, WrongState,
};
use super::super::ready::Readiness;
use super::super::{discover, replications, schedules, sources, transfers};
use super::describe::{Described, get, post};
use super::shapes::{ContextList, CutoverReady, EventData};

/// What a source may say, or what keeps us from it.
const OF_SOURCES: &[Code] = &[
    VmNotFound,
    VmAmbiguous,
    VmRefused,
    SourceCredentials,
    SourceCertificate,
    SourceUnreachable,
    SourceFailed,
    WorkerAway,
];

/// Every request.
pub(super) fn requests() -> Vec<Described> {
    let guarded = [replicating(), looking(), following()].into_iter().flatten();
    let mut all: Vec<_> = guarded.map(Described::guarded).collect();
    all.push(discovering());
    all.extend(the_service());
    all
}

fn replicating() -> Vec<Described> {
    let path = "/api/v1/replications";
    vec![
        get(path, "list_replications", "Jobs of replication, the latest first")
            .word(
                "status",
                &["pending", "running", "completed", "failed", "cancelled"],
                "only those that are so",
            )
            .number("vm_context_id", i64::MIN.into()..=i64::MAX.into(), "only those of this machine")
            .text(
                "cursor",
                "`next_cursor` of the page before; the first page where absent",
            )
            .number("limit", 1..=500, "how many at most; 100 where absent")
            .answers::<replications::Page>("200", "one page")
            .fails(&[InvalidRequest, Internal]),
        post(
            path,
            "start_replication",
            "Replicate a machine, once the source confirmed that it is there as it was discovered",
        )
        .header(
            "Idempotency-Key",
            // A header's value has no space around it.
            r"^[!-~]([ -~]{0,198}[!-~])?$",
            "1 to 200 printable ASCII characters: a repetition with the same key and request gets the same job",
        )
        .takes::<replications::Asked>()
        .answers_with_location::<JobView>("202", "the job, which goes on by itself")
        .fails(OF_SOURCES)
        .fails(&[
            UnknownConfig,
            VmChanged,
            ReplicationInProgress,
            IdempotencyKeyReused,
            NameTaken,
            Internal,
        ]),
        get(
            "/api/v1/replications/{id}",
            "get_replication",
            "A job, with its steps and disks",
        )
        .number(
            "wait",
            0..=u64::MAX.into(),
            "seconds to wait for the end of the job, 0 where absent; more than 60 are taken for 60",
        )
        .answers::<JobView>("200", "the job")
        .fails(&[InvalidRequest, JobNotFound, Internal]),
        post(
            "/api/v1/replications/{id}/cancel",
            "cancel_replication",
            "Want a job stopped; one that has ended stays as it is",
        )
        .answers::<JobView>("202", "the job; it is stopped when its status is `cancelled`")
        .fails(&[JobNotFound, Internal]),
        post(
            "/api/v1/replications/{id}/retry",
            "retry_replication",
            "Do a job that failed or was cancelled once more, under its id",
        )
        .answers::<JobView>("202", "the job")
        .fails(&[JobNotFound, WrongState, ReplicationInProgress, Internal]),
        post(
            "/api/v1/replications/{id}/cutover-ready",
            "declare_cutover_ready",
            "Declare a machine ready to be cut over, after its last job was completed",
        )
        .answers::<CutoverReady>("200", "the machine and the job")
        .fails(&[JobNotFound, WrongState, Internal]),
        get(
            "/api/v1/contexts",
            "list_contexts",
            "The machines, how their jobs went, and what was discovered of them",
        )
        .answers::<ContextList>("200", "all of them")
        .fails(&[Internal]),
    ]
}

fn looking() -> Vec<Described> {
    vec![
        get(
            "/api/v1/sources",
            "list_sources",
            "The sources that the service knows, by name; credentials are never told",
        )
        .answers::<sources::Listed>("200", "all of them"),
        get(
            "/api/v1/sources/{host}/machines",
            "list_machines",
            "The machines of a known source as they are now",
        )
        .text("datacenter", "only in this datacenter")
        .text("filter", "only the machine of this name, path or id")
        .answers::<discover::Found>("200", "the machines, in the order of their paths")
        .fails(OF_SOURCES)
        .fails(&[InvalidRequest, SourceNotFound]),
        get(
            "/api/v1/schedules",
            "list_schedules",
            "The schedules that are in force, when they begin next, and how they went",
        )
        .answers::<schedules::List>("200", "all of them, and what is wrong with the file as it is now")
        .fails(&[Internal]),
        post(
            "/api/v1/schedules/{name}/run",
            "run_schedule",
            "Begin a schedule by hand, now; the calendar stays as it is",
        )
        .answers::<schedules::Ran>(
            "202",
            "what became of each machine; nothing of that yet where it takes longer than callers wait",
        )
        .fails(&[ScheduleNotFound, ScheduleBeingStarted, Internal]),
    ]
}

fn following() -> Vec<Described> {
    vec![
        get(
            "/api/v1/transfers",
            "list_transfers",
            "How far the disks are that move, and those that moved last",
        )
        .answers::<transfers::List>("200", "all of them"),
        get("/api/v1/transfers/{id}", "get_transfer", "A transfer")
            .answers::<transfers::View>("200", "the transfer")
            .fails(&[InvalidRequest, TransferNotFound]),
        get(
            "/api/v1/events",
            "follow_events",
            "What changes, as server-sent events: `replication` at each step, `transfer` at most once a second for each",
        )
        .answers_as::<EventData>(
            "200",
            "begins with what is under way, and ends when the service does; who was away asks for the lists",
            "text/event-stream",
        ),
        get("/metrics", "get_metrics", "What Prometheus asks for").answers_foreign(
            "the numbers, in Prometheus' text format; in that of OpenMetrics where `Accept` asks for it",
            "text/plain; version=0.0.4; charset=utf-8",
            Type::String,
        ),
    ]
}

fn discovering() -> Described {
    post(
        "/api/v1/discover",
        "discover",
        "The machines that a source has, for who brings along who he is there; answers within 15 seconds",
    )
    .of_discovery()
    .takes::<discover::Asked>()
    .answers::<discover::Found>("200", "the machines")
    .fails(OF_SOURCES)
}

fn the_service() -> Vec<Described> {
    vec![
        get("/healthz", "get_health", "Whether the service lives")
            .on_both()
            .answers_foreign("it does", "text/plain", Type::String),
        get(
            "/readyz",
            "get_readiness",
            "Whether records and volume daemon can be worked with, and what is wrong",
        )
        .answers::<Readiness>("200", "they can")
        .answers::<Readiness>("503", "something is wrong"),
        get("/openapi.json", "get_openapi", "This description")
            .on_both()
            .answers_foreign("this document", "application/json", Type::Object),
    ]
}
