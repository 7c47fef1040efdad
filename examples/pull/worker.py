"""A worker in Python for routes whose handler is `pull`: `HOOKBOX_GRPC=127.0.0.1:50051 python3 worker.py orders`. Needs
`pip install grpcio grpcio-tools`, the folder `proto` of hookbox in the working folder, and HOOKBOX_TOKEN if requests
need a token. SIGTERM ends it after the jobs that it holds. While hookbox is away, it tries again every second."""
import concurrent.futures, grpc, json, os, signal, socket, sys, time

def handle(job):
    """Replace this. Returns the result, or raises. It has 60 s, the lease; a longer job has to call ExtendLeases. It
    can run again for the same job, after a failure or a crash, so key its effects by `job.delivery_id`."""
    return {"shipped": json.loads(job.payload_json)["order_id"]}

def run(job):
    try:
        return proto.JobOutcome(lease=job.lease, completed={"result_json": json.dumps(handle(job))})
    except Exception as error:  # retried, as the route says; `"permanent": True` makes a dead letter at once
        return proto.JobOutcome(lease=job.lease, failed={"error": f"{type(error).__name__}: {error}"})

sys.path.append("proto")
proto, services = grpc.protos_and_services("hookbox/v1/work_service.proto")
address, token = os.environ.get("HOOKBOX_GRPC", "127.0.0.1:50051"), os.environ.get("HOOKBOX_TOKEN")
work = services.WorkServiceStub(grpc.insecure_channel(address, [("grpc.max_reconnect_backoff_ms", 5000)]))
options = {"timeout": 30, "metadata": [("authorization", f"Bearer {token}")] if token else []}
wanted = {"routes": sys.argv[1:], "max_jobs": 10, "wait": {"seconds": 20}, "lease": {"seconds": 60}}
name, stopped, outcomes = f"{socket.gethostname()}-{os.getpid()}", [], []
threads, leasing = concurrent.futures.ThreadPoolExecutor(10), concurrent.futures.Future()
signal.signal(signal.SIGTERM, lambda *_: (stopped.append(True), leasing.cancel()))
while outcomes or not stopped:
    try:
        if outcomes:
            work.FinishJobs(proto.FinishJobsRequest(worker=name, outcomes=outcomes), **options)
            outcomes = []
        else:
            leasing = work.LeaseJobs.future(proto.LeaseJobsRequest(worker=name, **wanted), **options)
            outcomes = list(threads.map(run, leasing.result().jobs))
    except grpc.FutureCancelledError:
        break
    except grpc.RpcError as error:
        if stopped or error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise
        time.sleep(1)
