// A worker in Node for routes whose handler is `pull`. `HOOKBOX_GRPC=127.0.0.1:50051 node worker.mjs orders` takes the
// jobs of `orders`. Needs `npm install @grpc/grpc-js @grpc/proto-loader`, and the folder `proto` of hookbox in the
// working folder; and HOOKBOX_TOKEN, if requests need a token. SIGTERM ends it once the jobs that it holds are finished.
// While hookbox is away, it tries again every second.
import { hostname } from "node:os";
import { setTimeout } from "node:timers/promises";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

// Replace this. Returns the result, or throws. It has 60 s, the lease; a longer job has to call ExtendLeases. It can
// run again for the same job, after a failure or a crash, so key its effects by `job.delivery_id`.
async function handle(job) {
  const order = JSON.parse(job.payload_json);
  if (!order.order_id) throw new Error("the payload has no order_id");
  return { shipped: order.order_id };
}

async function run(job) {
  try {
    return { lease: job.lease, completed: { result_json: JSON.stringify((await handle(job)) ?? null) } };
  } catch (error) {
    // Retried, as the route says; `permanent: true` makes a dead letter at once.
    return { lease: job.lease, failed: { error: String(error) } };
  }
}

const { WorkService } = grpc.loadPackageDefinition(
  loadSync("hookbox/v1/work_service.proto", { includeDirs: ["proto"], keepCase: true, defaults: true }),
).hookbox.v1;
const address = process.env.HOOKBOX_GRPC ?? "127.0.0.1:50051";
const work = new WorkService(address, grpc.credentials.createInsecure(), { "grpc.max_reconnect_backoff_ms": 5000 });
const worker = `${hostname()}-${process.pid}`;
const wanted = { routes: process.argv.slice(2), worker, max_jobs: 10, wait: { seconds: 20 }, lease: { seconds: 60 } };
const metadata = new grpc.Metadata();
if (process.env.HOOKBOX_TOKEN) metadata.set("authorization", `Bearer ${process.env.HOOKBOX_TOKEN}`);
let running = true;
let leasing;
let outcomes = [];

const call = (method, request) =>
  new Promise((resolve, reject) => {
    const answered = (error, answer) => (error ? reject(error) : resolve(answer));
    const called = work[method](request, metadata, { deadline: Date.now() + 30_000 }, answered);
    if (method === "LeaseJobs") leasing = called;
  });

process.on("SIGTERM", () => {
  running = false;
  leasing?.cancel();
});

while (running || outcomes.length > 0) {
  try {
    if (outcomes.length > 0) {
      await call("FinishJobs", { worker, outcomes });
      outcomes = [];
    } else {
      outcomes = await Promise.all((await call("LeaseJobs", wanted)).jobs.map(run));
    }
  } catch (error) {
    if (!running && error.code === grpc.status.CANCELLED) break;
    if (!running || ![grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED].includes(error.code)) throw error;
    await setTimeout(1000);
  }
}
work.close();
