"""A server of the bank that chaos runs call, in Python: what docs/chaos.md asks for, over docs/protocol.md.

An effect happens exactly once, since the row that remembers its call is written in the same transaction. A second server that
gets the same call waits for the first at that row, and then finds the answer.
"""
import hashlib, json, logging, os, signal, time
import pika, psycopg2

env = os.environ
service, name, database = env['CHAOS_SERVICE'], env['CHAOS_SERVER'], env['DATABASE_URL']
accounts, opening, limit = (int(env['CHAOS_' + x]) for x in ('ACCOUNTS', 'OPENING', 'QUORUM'))
logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s')
logging.getLogger('pika').setLevel(logging.CRITICAL)  # it tells of each lost connection in twenty lines

SCHEMA = """
SELECT pg_advisory_xact_lock(1);
CREATE TABLE IF NOT EXISTS accounts (id int PRIMARY KEY, balance bigint NOT NULL CONSTRAINT enough CHECK (balance >= 0));
CREATE TABLE IF NOT EXISTS ledger (seq bigserial PRIMARY KEY, call text, tag text, source int, target int, amount bigint);
CREATE TABLE IF NOT EXISTS registers (key int PRIMARY KEY, value text NOT NULL);
CREATE TABLE IF NOT EXISTS calls (client text, method text, id text, payload text NOT NULL, code text, answer text,
    PRIMARY KEY (client, method, id));
CREATE SEQUENCE IF NOT EXISTS executions;
INSERT INTO accounts SELECT i, %s FROM generate_series(0, %s - 1) i ON CONFLICT DO NOTHING;
"""


class Refused(Exception):
    """An error with a code, for the caller."""

    def __init__(self, code, message, executed='no'):
        super().__init__(message)
        self.code, self.message, self.executed = code, message, executed


def entry(db):
    db.execute("SELECT nextval('executions')")
    return str(db.fetchone()[0])


def transfer(db, call, r):
    db.execute('SELECT id FROM accounts WHERE id IN (%s, %s) ORDER BY id FOR UPDATE', (r['from'], r['to']))
    if db.rowcount < 2 or r['amount'] < 1:
        raise Refused('invalid_argument', 'two accounts, and an amount')
    db.execute('UPDATE accounts SET balance = balance - %s WHERE id = %s AND balance >= %s', (r['amount'], r['from'], r['amount']))
    if db.rowcount == 0:
        raise Refused('failed_precondition', 'not enough money', 'yes')
    db.execute('UPDATE accounts SET balance = balance + %s WHERE id = %s', (r['amount'], r['to']))
    db.execute('INSERT INTO ledger (call, tag, source, target, amount) VALUES (%s, %s, %s, %s, %s)',
               (call, r['tag'], r['from'], r['to'], r['amount']))
    return {'tag': r['tag'], 'entry': entry(db)}


def balances(db, call, r):
    db.execute('SELECT balance FROM accounts ORDER BY id')
    return {'balances': [row[0] for row in db]}


def ledger(db, call, r):
    db.execute('SELECT seq, call, tag, source, target, amount FROM ledger WHERE seq > %s ORDER BY seq LIMIT 1000', (r['seq'],))
    return {'entries': [dict(zip(('seq', 'call', 'tag', 'from', 'to', 'amount'), row)) for row in db]}


def get(db, call, r):
    db.execute('SELECT value FROM registers WHERE key = %s', (r['key'],))
    row = db.fetchone()
    return {'tag': r['tag'], 'key': r['key'], 'value': row[0] if row else ''}


def put(db, call, r):
    db.execute('INSERT INTO registers VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
               (r['key'], r.get('value', '')))
    return {'tag': r['tag'], 'entry': entry(db)}


def cas(db, call, r):
    db.execute("INSERT INTO registers VALUES (%s, '') ON CONFLICT DO NOTHING", (r['key'],))
    db.execute('UPDATE registers SET value = %s WHERE key = %s AND value = %s', (r['new'], r['key'], r['old']))
    swapped = db.rowcount == 1
    return {'tag': r['tag'], 'entry': entry(db), 'swapped': swapped}


methods = {'transfer': transfer, 'accounts': balances, 'ledger': ledger, 'get': get, 'put': put, 'cas': cas}
connection = None  # with the database


def connect_database():
    global connection
    if connection is None or connection.closed:
        # Others wait for the transaction of a server that is frozen, so it must not last.
        connection = psycopg2.connect(database, connect_timeout=3, options='-c idle_in_transaction_session_timeout=3000')
        with connection, connection.cursor() as db:
            db.execute(SCHEMA, (opening, accounts))
    return connection


def execute(client, method, call, payload, body):
    """Returns the code and the text of the answer, and whether it was there already. All of it is one transaction."""
    with connect_database() as c, c.cursor() as db:  # commits, or rolls back after an exception
        db.execute('INSERT INTO calls VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING', (client, method, call, payload))
        if db.rowcount == 0:
            db.execute('SELECT payload, code, answer FROM calls WHERE client = %s AND method = %s AND id = %s', (client, method, call))
            known, code, answer = db.fetchone()
            if known != payload:
                raise Refused('invalid_argument', 'call ID used before with another body')
            return code, answer, True
        db.execute('SAVEPOINT effect')
        try:
            code, answer = None, json.dumps(methods[method](db, call, json.loads(body)))
        except Refused as e:
            if e.executed == 'no':
                raise
            db.execute('ROLLBACK TO SAVEPOINT effect')
            code, answer = e.code, e.message  # an answer like any other: the same each time
        db.execute('UPDATE calls SET code = %s, answer = %s WHERE client = %s AND method = %s AND id = %s',
                   (code, answer, client, method, call))
        return code, answer, False


def serve(props, headers, redelivered, body):
    """Returns code, text, executed, and whether it is replayed. An answer without a code is a success."""
    if headers.get('rpc-version') != 1:
        return 'unimplemented', 'version is not 1', 'no', False
    if props.type == 'rpc.ping':
        return None, '', 'yes', False
    try:
        if props.type not in methods or (props.content_type or 'application/json') != 'application/json' or props.content_encoding:
            raise Refused('unimplemented', 'no such method, content type or encoding')
        if not props.correlation_id:
            raise Refused('invalid_argument', 'no call ID')
        if redelivered and headers.get('rpc-at-most-once'):
            raise Refused('unavailable', 'delivered before', 'unknown')
        client = props.app_id or props.reply_to
        payload = hashlib.sha256(body).hexdigest()
        code, text, replayed = execute(client, props.type, props.correlation_id, payload, body)
        return code, text, 'yes', replayed
    except Refused as e:
        return e.code, e.message, 'unknown' if redelivered and e.executed == 'no' else e.executed, False
    except (ValueError, KeyError, TypeError):
        return 'invalid_argument', 'body is not what the method takes', 'unknown' if redelivered else 'no', False
    except psycopg2.Error as e:
        connection and connection.close()
        logging.info('database: %s', type(e).__name__)  # its text may show the URL
        # The commit may have reached it.
        return 'unavailable', 'database is not available', 'unknown', False


def on_request(channel, delivery, props, body):
    headers, to = props.headers or {}, props.reply_to or ''
    if to.startswith('amq.gen-'):  # else it is no address of a caller's
        code, text, executed, replayed = serve(props, headers, delivery.redelivered, body)
        h = {'rpc-attempt': headers['rpc-attempt']} if 'rpc-attempt' in headers else {}
        if replayed:
            h['rpc-replayed'] = True
        if code:
            h.update({'rpc-code': code, 'rpc-message': text, 'rpc-executed': executed})
        channel.basic_publish('', to, text.encode(), mandatory=True, properties=pika.BasicProperties(
            correlation_id=props.correlation_id, content_type='text/plain' if code else 'application/json',
            delivery_mode=props.delivery_mode, app_id=name, headers=h))
    channel.basic_ack(delivery.delivery_tag)


def run():
    """Serves over one connection, until it is lost."""
    c = pika.BlockingConnection(pika.URLParameters(env['RABBITMQ_URL']))
    channel = c.channel()
    queue = 'rabbitrpc.' + service
    arguments = {'x-dead-letter-exchange': ''}
    if limit:
        arguments.update({'x-queue-type': 'quorum', 'x-delivery-limit': limit})
    channel.exchange_declare(queue, 'fanout', durable=True)
    channel.queue_declare(queue, durable=True, arguments=arguments)
    channel.queue_bind(queue, queue)
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, on_request)
    logging.info('serving %s', service)
    while not stopping:
        c.process_data_events(time_limit=0.1)
    c.close()


def stop(signum, frame):
    global stopping
    stopping = True


stopping = False
signal.signal(signal.SIGTERM, stop)
while not stopping:
    try:
        run()
    except (pika.exceptions.AMQPError, OSError) as e:
        logging.info('connection lost: %s', type(e).__name__)
        time.sleep(0.1)
