#!/usr/bin/env python3
"""Callers of many kinds, each on a connection of its own, that call at once.

Standard input is {"url": ..., "peers": [...]}. A peer has a queue, a body, and maybe:
  reply   how it wants its reply: "" (a queue named by the server), "direct", or the name of an exclusive queue
  props   further properties of the request
  times   how many calls it makes, one after the other, until one is not answered (1)
  wait    seconds for each reply (20), which takes milliseconds
Standard output is a list with an item for each peer: a list of its replies, {"body", "id", "type"}, null for none in time.
"""
import json
import sys
import threading
import time

import pika


def run(url, peer, start):
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    reply = peer.get('reply', '')
    if reply == 'direct':
        queue = 'amq.rabbitmq.reply-to'
    else:
        queue = channel.queue_declare(queue=reply, exclusive=True).method.queue
    got = []
    channel.basic_consume(
        queue=queue, auto_ack=True,
        on_message_callback=lambda ch, method, props, body: got.append((props, body)))
    replies = []
    start.wait()
    for _ in range(peer.get('times', 1)):
        got.clear()
        channel.basic_publish('', peer['queue'], peer['body'], pika.BasicProperties(reply_to=queue, **peer.get('props', {})))
        end = time.monotonic() + peer.get('wait', 20)
        while not got and time.monotonic() < end:
            connection.process_data_events(time_limit=0.1)
        if got:
            props, body = got[0]
            replies.append({'body': body.decode(), 'id': props.correlation_id, 'type': props.content_type})
        else:
            replies.append(None)
            break
    connection.close()
    return replies


def main():
    spec = json.load(sys.stdin)
    peers = spec['peers']
    results = [None] * len(peers)
    start = threading.Barrier(len(peers))

    def work(i):
        try:
            results[i] = run(spec['url'], peers[i], start)
        except BaseException:
            start.abort()
            raise

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(peers))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    json.dump(results, sys.stdout)
    sys.exit(None in results)


main()
