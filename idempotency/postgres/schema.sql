-- Version 1. {schema} stands for the schema's name. Servers use the functions only, which run with the rights
-- of whoever made them.

CREATE TABLE {schema}.meta (
	version   int      NOT NULL,
	retention interval NOT NULL
);
INSERT INTO {schema}.meta VALUES (0, '0');

CREATE FUNCTION {schema}.version() RETURNS int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ SELECT version FROM {schema}.meta $$;

-- One row for each call. A call that runs has no head. In transaction mode nobody sees it run.
CREATE TABLE {schema}.records (
	key         bytea       NOT NULL, -- SHA-256 of the key
	created     timestamptz NOT NULL,
	lease       timestamptz,          -- the claim is its holder's until then
	fence       bigint      NOT NULL, -- the transaction that claimed it
	claims      int         NOT NULL,
	fingerprint bytea       NOT NULL,
	head        bytea,                -- the outcome, but for the body
	body        bytea
) PARTITION BY RANGE (created);

CREATE TABLE {schema}.partitions (
	name  text        NOT NULL PRIMARY KEY,
	lower timestamptz NOT NULL,
	upper timestamptz NOT NULL
);

-- claim claims the call unless it is known, and answers new, orphaned, running, done, mismatch, contested, or
-- torn: the handler has committed without an outcome. Without p_locks it only looks. In transaction mode
-- p_lease is null, and the transaction may go without a statement for p_idle milliseconds, and wait or work for
-- p_limit. leaf and tid are where the row of a claim is.
CREATE FUNCTION {schema}.claim(p_key bytea, p_fingerprint bytea, p_locks bigint[], p_lease interval, p_idle text, p_limit text,
	OUT state text, OUT fence bigint, OUT claims int, OUT leaf text, OUT tid text, OUT head bytea, OUT body bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
	moment timestamptz := clock_timestamp();
	today  record;
	known  record;
	same   boolean := false; -- nobody else has the lock of the call with its payload
	alone  boolean := false; -- nor that of the call
BEGIN
	-- The locks come first. Under read committed the lookup then has a snapshot of its own, and sees what the
	-- last holder of the locks has left.
	IF p_locks IS NOT NULL THEN
		same := pg_try_advisory_xact_lock(p_locks[1]);
		IF same THEN
			alone := pg_try_advisory_xact_lock(p_locks[2]);
		END IF;
	END IF;

	SELECT name, lower, upper INTO today FROM {schema}.partitions WHERE lower <= moment AND moment < upper;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'no partition for %', moment USING ERRCODE = 'RR001';
	END IF;
	CASE current_setting('transaction_isolation')
	WHEN 'serializable' THEN
		-- The snapshot may be older than the locks. Whoever claims the call in the same partition is met by the
		-- insertion below, and in another one by PostgreSQL: each reads where the other writes. Without the
		-- exception all would read where all write.
		NULL;
	WHEN 'read committed' THEN
		today.lower := 'infinity';
		today.upper := 'infinity';
	ELSE
		RAISE EXCEPTION 'repeatable read cannot tell whether a call is new';
	END CASE;
	-- The error ends a subtransaction, and with it the locks on all partitions: a handler that runs for long
	-- would else keep them from being dropped.
	BEGIN
		SELECT r.* INTO known FROM {schema}.records r
			WHERE r.key = p_key AND (r.created < today.lower OR r.created >= today.upper) ORDER BY r.created DESC LIMIT 1;
		RAISE EXCEPTION SQLSTATE 'RR000';
	EXCEPTION WHEN SQLSTATE 'RR000' THEN NULL;
	END;

	IF known.key IS NULL AND alone THEN
		fence := pg_current_xact_id()::text::bigint;
		claims := 1;
		leaf := today.name;
		EXECUTE format('INSERT INTO {schema}.%I VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING ctid', leaf)
			INTO tid USING p_key, moment, moment + p_lease, fence, claims, p_fingerprint;
	END IF;
	IF known.key IS NULL AND tid IS NULL THEN
		SELECT r.* INTO known FROM {schema}.records r WHERE r.key = p_key; -- this transaction is not to write
	END IF;

	IF known.key IS NULL THEN
		-- Contested: the lock of the call is with another payload, unless what was looked up is out of date.
		-- Who then looks again, and still finds nothing, knows.
		state := CASE WHEN alone THEN 'new' WHEN same THEN 'contested' WHEN p_locks IS NULL THEN 'mismatch' ELSE 'running' END;
	ELSIF known.fingerprint <> p_fingerprint THEN
		state := 'mismatch';
	ELSIF known.head IS NOT NULL THEN
		state := 'done';
		head := known.head;
		body := known.body;
	ELSIF known.lease IS NULL THEN
		state := 'torn';
	ELSIF known.lease > moment OR NOT alone THEN
		state := 'running';
	ELSE
		fence := pg_current_xact_id()::text::bigint;
		claims := known.claims + 1;
		-- Unless it has been completed or renewed since.
		UPDATE {schema}.records r SET fence = claim.fence, claims = claim.claims, lease = moment + p_lease
			WHERE r.key = p_key AND r.fence = known.fence AND r.head IS NULL AND r.lease = known.lease
			RETURNING r.ctid, (SELECT relname FROM pg_class WHERE oid = r.tableoid) INTO tid, leaf;
		state := CASE WHEN FOUND THEN 'orphaned' ELSE 'running' END;
	END IF;
	IF p_lease IS NULL AND state IN ('new', 'orphaned') THEN
		PERFORM set_config('idle_in_transaction_session_timeout', p_idle, true),
			set_config('statement_timeout', p_limit, true), set_config('lock_timeout', p_limit, true);
	END IF;
END $$;

-- complete says whether the outcome is the caller's. It may be tried again.
CREATE FUNCTION {schema}.complete(p_key bytea, p_fence bigint, p_head bytea, p_body bytea) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	UPDATE {schema}.records SET head = p_head, body = p_body, lease = NULL WHERE key = p_key AND fence = p_fence AND head IS NULL;
	RETURN FOUND OR EXISTS (SELECT FROM {schema}.records WHERE key = p_key AND fence = p_fence AND head IS NOT NULL);
END $$;

-- complete_within is complete for the transaction that has claimed the call. It finds the row without an index:
-- under serializable, that would be to read where others write.
CREATE FUNCTION {schema}.complete_within(p_leaf text, p_tid text, p_fence bigint, p_head bytea, p_body bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	found bigint := 0;
BEGIN
	IF pg_current_xact_id_if_assigned()::text::bigint = p_fence THEN
		EXECUTE format('UPDATE {schema}.%I SET head = $1, body = $2, lease = NULL WHERE ctid = $3 AND fence = $4 AND head IS NULL', p_leaf)
			USING p_head, p_body, p_tid::tid, p_fence;
		GET DIAGNOSTICS found = ROW_COUNT;
	END IF;
	IF found <> 1 THEN
		RAISE EXCEPTION 'the handler has ended the transaction' USING ERRCODE = 'RR002';
	END IF;
END $$;

-- abandon leaves the call as it was before the claim, which may be an orphan, and says whether the claim was the
-- caller's.
CREATE FUNCTION {schema}.abandon(p_key bytea, p_fence bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	UPDATE {schema}.records SET lease = clock_timestamp(), claims = claims - 1
		WHERE key = p_key AND fence = p_fence AND head IS NULL AND claims > 1;
	IF NOT FOUND THEN
		DELETE FROM {schema}.records WHERE key = p_key AND fence = p_fence AND head IS NULL;
	END IF;
	RETURN FOUND;
END $$;

-- renew moves a call that runs for very long to the partition of today, since its own is about to be dropped.
CREATE FUNCTION {schema}.renew(p_keys bytea[], p_fences bigint[], p_lease interval) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	moment timestamptz := clock_timestamp();
	aged   timestamptz := (SELECT moment - retention / 2 FROM {schema}.meta);
BEGIN
	UPDATE {schema}.records r SET lease = moment + p_lease, created = CASE WHEN r.created < aged THEN moment ELSE r.created END
		FROM (SELECT l.key, l.fence FROM {schema}.records l JOIN unnest(p_keys, p_fences) AS held (key, fence)
			ON l.key = held.key AND l.fence = held.fence WHERE l.head IS NULL FOR UPDATE OF l SKIP LOCKED) AS held
		WHERE r.key = held.key AND r.fence = held.fence AND r.head IS NULL;
END $$;

-- has says whether the claim is the last one of the call.
CREATE FUNCTION {schema}.has(p_key bytea, p_fence bigint) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT EXISTS (SELECT FROM {schema}.records WHERE key = p_key AND fence = p_fence)
$$;

-- prepare makes the partitions for half of the retention to come. Attaching them takes a lock that gets into
-- nobody's way.
CREATE FUNCTION {schema}.prepare(p_retention interval) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	moment timestamptz := clock_timestamp();
	width  interval;
	latest timestamptz; -- of those from now on without a gap
	next   timestamptz;
	since  timestamptz;
	leaf   text;
BEGIN
	IF NOT pg_try_advisory_xact_lock(hashtextextended('{schema}.prepare', 0)) THEN
		RETURN; -- another server is at it
	END IF;
	PERFORM set_config('lock_timeout', '1s', true);
	UPDATE {schema}.meta SET retention = p_retention WHERE retention < p_retention;
	SELECT retention / 4 INTO width FROM {schema}.meta;
	LOOP
		-- The clock may have been ahead for a while: then there are some beyond a gap.
		SELECT min(upper) INTO latest FROM {schema}.partitions p WHERE upper > moment - width
			AND NOT EXISTS (SELECT FROM {schema}.partitions q WHERE q.lower = p.upper);
		EXIT WHEN latest >= moment + 2 * width;
		IF latest IS NULL THEN
			SELECT max(upper) INTO latest FROM {schema}.partitions;
		END IF;
		-- The first begins in the past: the clock may be set back a little.
		since := greatest(latest, date_trunc('second', moment - width));
		SELECT least(since + width, min(lower)) INTO next FROM {schema}.partitions WHERE lower >= since;
		leaf := 'records_' || to_char(since AT TIME ZONE 'UTC', 'YYYYMMDD_HH24MISS');
		EXECUTE format('CREATE TABLE {schema}.%I (LIKE {schema}.records) WITH (fillfactor = 60)', leaf);
		EXECUTE format('CREATE UNIQUE INDEX ON {schema}.%I (key)', leaf);
		EXECUTE format('ALTER TABLE {schema}.records ATTACH PARTITION {schema}.%I FOR VALUES FROM (%L) TO (%L)', leaf, since, next);
		INSERT INTO {schema}.partitions VALUES (leaf, since, next);
	END LOOP;
END $$;

-- expire drops one partition that is past the retention, and says whether there was one. It gives up soon where
-- somebody uses the partition, since all claims wait behind it.
CREATE FUNCTION {schema}.expire() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	leaf text;
BEGIN
	IF NOT pg_try_advisory_xact_lock(hashtextextended('{schema}.expire', 0)) THEN
		RETURN false;
	END IF;
	SELECT name INTO leaf FROM {schema}.partitions, {schema}.meta WHERE upper < clock_timestamp() - retention ORDER BY upper LIMIT 1;
	IF leaf IS NULL THEN
		RETURN false;
	END IF;
	PERFORM set_config('lock_timeout', '100ms', true);
	EXECUTE format('DROP TABLE {schema}.%I', leaf);
	DELETE FROM {schema}.partitions WHERE name = leaf;
	RETURN true;
END $$;
