"""A worker in Python for routes whose handler is `pull`. `HOOKBOX_GRPC=127.0.0.1:50051 python3 worker.py orders`
takes the jobs of `orders`. Needs `pip install grpcio grpcio-tools`, and the folder `proto` of hookbox in the working
folder; and HOOKBOX_TOKEN, if requests need a token. SIGTERM ends it once the jobs that it holds are finished. While
hookbox is away, it tries again every second."""
import concurrent.futures, json, os, signal, socket, sys, time
import grpc

def handle(job):
    """Replace this. Returns the result, or raises. It has 60 s, the lease; a longer job has to call ExtendLeases. It
    can run again for the same job, after a failure or a crash, so key its effects by `job.delivery_id`."""
    return {"shipped": json.loads(job.payload_json)["order_id"]}

def run(job):
    try:
        return proto.JobOutcome(lease=job.lease, completed={"result_json": json.dumps(handle(job))})
    except Exception as error:  # retried, as the route says; `"permanent": True` makes a dead letter at once
        return proto.JobOutcome(lease=job.lease, failed={"error": f"{type(error).__name__}: {error}"})

def stop(*_):
    global running
    running = False
    leasing.cancel()

sys.path.append("proto")
proto, services = grpc.protos_and_services("hookbox/v1/work_service.proto")
address, name = os.environ.get("HOOKBOX_GRPC", "127.0.0.1:50051"), f"{socket.gethostname()}-{os.getpid()}"
work = services.WorkServiceStub(grpc.insecure_channel(address, [("grpc.max_reconnect_backoff_ms", 5000)]))
wanted = {"routes": sys.argv[1:], "max_jobs": 10, "wait": {"seconds": 20}, "lease": {"seconds": 60}}
token = os.environ.get("HOOKBOX_TOKEN")
options = {"timeout": 30, "metadata": [("authorization", f"Bearer {token}")] if token else []}
threads, running, leasing, outcomes = concurrent.futures.ThreadPoolExecutor(10), True, concurrent.futures.Future(), []
signal.signal(signal.SIGTERM, stop)
while running or outcomes:
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
        if not running or error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise
        time.sleep(1)
