// fastify + graphile-worker.
import { Logger, run, runMigrations } from 'graphile-worker'
import pg from 'pg'

import { connectionString, counts, serve, sha256 } from './inbox.mjs'

const logger = new Logger(() => (level, message) => {
  // A line for each completed job would cost more than the job.
  if (level === 'error' || level === 'warning') console.error(message)
})
await runMigrations({ connectionString, logger })

// add_jobs() runs five statements. PostgreSQL plans all of them anew in each call, because it holds a generic
// plan for dearer; it is not, and forcing it doubles the rate. It has no effect on durability.
const pool = new pg.Pool({
  connectionString,
  max: Number(process.env.POOL_SIZE ?? 20),
  options: '-c plan_cache_mode=force_generic_plan'
})
pool.on('error', console.error)
await pool.query(`
  create table if not exists webhook_keys (
    idempotency_key text primary key,
    id uuid not null default gen_random_uuid(),
    fingerprint text not null,
    accepted_at timestamptz not null default now()
  )`)
const { rows: [{ unfinished }] } = await pool.query('select count(*)::int as unfinished from graphile_worker.jobs')
counts.accepted = unfinished

const runner = await run({
  connectionString,
  logger,
  noHandleSignals: true,
  taskList: {
    webhook () {
      // graphile-worker deletes the job a moment later, with others, so the count runs ahead of it.
      counts.completed++
    }
  },
  preset: {
    // As the library's page on performance has it. The delays are added because each job notifies, and without
    // them each notification fetches; they are worth a tenth. A delay drops the notifications that come in
    // meanwhile, so the polling has to be as short.
    worker: {
      concurrentJobs: 24,
      maxPoolSize: 26,
      pollInterval: 100,
      localQueue: { size: 500, refetchDelay: { durationMs: 100, threshold: 499, maxAbortThreshold: Infinity } },
      completeJobBatchDelay: 100,
      failJobBatchDelay: 100
    }
  }
})

const STORE = {
  name: 'store',
  text: `
    with sent as (
      select * from json_to_recordset($1::json) as sent (idempotency_key text, fingerprint text, job json)
    ), fresh as (
      insert into webhook_keys (idempotency_key, fingerprint)
      select idempotency_key, fingerprint from sent
      on conflict do nothing
      returning idempotency_key, id
    )
    select
      fresh.idempotency_key,
      fresh.id,
      -- One call for all of them: it does not depend on the row.
      (
        select count(*) from graphile_worker.add_jobs(array(
          select json_populate_record(null::graphile_worker.job_spec, sent.job)
          from sent join fresh using (idempotency_key)
        ))
      )
    from fresh`
}

// graphile-worker deletes a completed job, and its job_key with it. So the keys have a table of their own, and
// one statement, which is one transaction, stores the key and adds the job with the library's SQL function.
async function store (webhooks) {
  const sent = webhooks.map(webhook => ({
    idempotency_key: webhook.idempotency_key,
    fingerprint: sha256(JSON.stringify([webhook.event_type, webhook.payload]), 'base64url'),
    job: { identifier: 'webhook', payload: webhook }
  }))
  const { rows } = await pool.query({ ...STORE, values: [JSON.stringify(sent)] })
  const fresh = new Map(rows.map(row => [row.idempotency_key, row.id]))
  return Promise.all(sent.map(async ({ idempotency_key, fingerprint }) => {
    const id = fresh.get(idempotency_key)
    if (id) return { id, outcome: 'new' }
    const { rows: [kept] } = await pool.query(
      'select id, fingerprint from webhook_keys where idempotency_key = $1', [idempotency_key])
    return { id: kept.id, outcome: kept.fingerprint === fingerprint ? 'duplicate' : 'reused' }
  }))
}

await serve(store, async () => {
  await runner.stop()
  await pool.end()
})
