// The peer with fastify and pg-boss.
import { isDeepStrictEqual } from 'node:util'

import pg from 'pg'
import { PgBoss } from 'pg-boss'

import { connectionString, counts, serve, sha256 } from './inbox.mjs'

const QUEUE = 'webhooks'
const MONTH = 30 * 24 * 60 * 60

const boss = new PgBoss({ connectionString })
boss.on('error', console.error)
await boss.start()

// The queue has a table of its own, as pg-boss recommends for large queues. Without `notify`, because
// transactions that notify commit one after the other, each with its own sync.
await boss.createQueue(QUEUE, { partition: true, deleteAfterSeconds: MONTH, retentionSeconds: MONTH })

const pool = new pg.Pool({ connectionString, max: Number(process.env.POOL_SIZE ?? 20) })
pool.on('error', console.error)
const { rows: [{ unfinished }] } = await pool.query(
  "select count(*)::int as unfinished from pgboss.job where name = $1 and state < 'completed'", [QUEUE])
counts.accepted = unfinished

// pg-boss does not prepare its statements, and planning the insert costs more than running it. With the `db`
// option it uses connections of the caller, which prepare statements. PLAIN=1 leaves pg-boss its own
// connections, as in the example on its first page.
const db = process.env.PLAIN ? undefined : {
  executeSql: (text, values) => pool.query({ name: sha256(text, 'hex').slice(0, 32), text, values })
}

// Fetches batches, without a pause as long as they are full.
await boss.work(QUEUE, {
  batchSize: 500,
  localConcurrency: 2,
  pollingIntervalSeconds: 0.5,
  burstWhenBatchFull: true
}, async jobs => {
  // pg-boss completes the batch after this function, so the count is ahead by at most one batch per worker.
  counts.completed += jobs.length
})

// The id of a job is made from the key, so that the primary key of the job table finds duplicates in the
// statement that stores. The key is kept as long as pg-boss keeps the completed job. A singletonKey does not
// work: the policies free it when the job is completed, and with singletonSeconds it ends at the next time
// slot, which can be at any moment.
async function store (webhooks) {
  const jobs = webhooks.map(data => ({ id: uuidOf(data.idempotency_key), data }))
  const fresh = new Set(await boss.insert(QUEUE, jobs, { returnId: true, db }))
  return Promise.all(jobs.map(async ({ id, data }) => {
    if (fresh.has(id)) return { id, outcome: 'new' }
    const [kept] = await boss.findJobs(QUEUE, { id })
    return { id, outcome: isDeepStrictEqual(kept.data, data) ? 'duplicate' : 'reused' }
  }))
}

function uuidOf (key) {
  const bytes = sha256(key, 'buffer').subarray(0, 16)
  bytes[6] = bytes[6] & 0x0f | 0x80
  bytes[8] = bytes[8] & 0x3f | 0x80
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

await serve(store, async () => {
  await boss.stop()
  await pool.end()
})
