// Shared by both peers: the two HTTP paths that `hookbox bench` uses, and the counts for the second.
import { hash } from 'node:crypto'

import fastify from 'fastify'
import pg from 'pg'

export const connectionString = process.env.DATABASE_URL
if (!connectionString) throw new Error('set DATABASE_URL, for example postgres://postgres@127.0.0.1/peers')

// Counted in the process, because count(*) over the jobs would slow down the measurement.
// `accepted` starts at the number of jobs that an earlier run left unfinished.
export const counts = { accepted: 0, completed: 0 }

// The most webhooks in one transaction: 1, as most programs do, or as many as are waiting, up to this number.
const groupSize = Number(process.env.GROUP ?? 1)

const schema = {
  body: {
    type: 'object',
    required: ['idempotency_key', 'event_type', 'payload'],
    properties: {
      idempotency_key: { type: 'string', minLength: 1, maxLength: 255 },
      event_type: { type: 'string', minLength: 1, maxLength: 255 },
      payload: {}
    }
  },
  // With a schema for the response, fastify compiles a faster serializer.
  response: {
    '2xx': {
      type: 'object',
      properties: {
        id: { type: 'string' },
        idempotency_key: { type: 'string' },
        event_type: { type: 'string' },
        duplicate: { type: 'boolean' }
      }
    }
  }
}

// `store` takes webhooks with distinct keys. Once they are committed, it returns { id, outcome } for each, in
// the same order; the outcome is 'new', 'duplicate' or 'reused'. `stop` ends the library.
export async function serve (store, stop) {
  await mustBeDurable()
  const app = fastify({ forceCloseConnections: true })
  const storeOne = groupSize > 1 ? grouped(store) : async webhook => (await store([webhook]))[0]

  app.post('/v1/webhooks', { schema }, async (request, reply) => {
    const { idempotency_key, event_type } = request.body
    // Counted before the commit, because a worker can complete the job before this function continues.
    counts.accepted++
    let stored
    try {
      stored = await storeOne(request.body)
    } finally {
      if (stored?.outcome !== 'new') counts.accepted--
    }
    if (stored.outcome === 'reused') {
      return reply.code(422).send({ title: 'The idempotency key was used for another webhook', status: 422 })
    }
    const duplicate = stored.outcome === 'duplicate'
    return reply.code(duplicate ? 200 : 202).send({ id: stored.id, idempotency_key, event_type, duplicate })
  })

  app.get('/v1/stats', async () => ({
    counts: {
      // Includes jobs that are being processed; these are not counted separately.
      pending: counts.accepted - counts.completed,
      processing: 0,
      retrying: 0,
      completed: counts.completed,
      dead_lettered: 0,
      cancelled: 0
    },
    oldest_due_seconds: 0,
    workers: { total: 0, busy: 0 }
  }))

  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, async () => {
      await app.close()
      await stop()
    })
  }
  console.log(`listening on ${await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })}`)
}

export function sha256 (text, encoding) {
  return hash('sha256', text, encoding)
}

// Groups webhooks: those that arrive while a group is being committed go into the next group.
function grouped (store) {
  let waiting = []
  let busy = false

  async function next () {
    if (busy || waiting.length === 0) return
    busy = true
    const group = new Map()
    const later = []
    for (const one of waiting) {
      const key = one.webhook.idempotency_key
      // A key that is already in the group waits for the next group, where it is a duplicate.
      if (group.size < groupSize && !group.has(key)) group.set(key, one)
      else later.push(one)
    }
    waiting = later
    const taken = [...group.values()]
    try {
      const stored = await store(taken.map(one => one.webhook))
      taken.forEach((one, at) => one.resolve(stored[at]))
    } catch {
      // If PostgreSQL refuses one webhook, the others must not fail with it, so each is stored alone.
      await Promise.all(taken.map(one => store([one.webhook]).then(([stored]) => one.resolve(stored), one.reject)))
    }
    busy = false
    next()
  }

  return webhook => new Promise((resolve, reject) => {
    waiting.push({ webhook, resolve, reject })
    next()
  })
}

// hookbox answers after a sync to disk. The comparison is fair only if the peers do so, too.
async function mustBeDurable () {
  const client = new pg.Client({ connectionString })
  await client.connect()
  const { rows } = await client.query(
    "select name, setting from pg_settings where name in ('fsync', 'synchronous_commit')")
  await client.end()
  for (const { name, setting } of rows) {
    if (setting !== 'on') throw new Error(`${name} is ${setting}; turn it on, otherwise the comparison is not fair`)
  }
}
