DROP VIEW job_statuses;
DROP TABLE transfers, backlog_gate, clock, probe, actions, replays, breakers, paces, pauses, status_counts, attempts,
    finished_jobs, lanes, jobs, queues, webhooks;
DROP SEQUENCE positions;
