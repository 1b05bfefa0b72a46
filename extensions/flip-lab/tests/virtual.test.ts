import assert from 'node:assert/strict';
import { test } from 'node:test';
import { drawn, scrolledTo } from '../src/runs/virtual';

test('only the lines that can be seen are drawn, and a few more', () => {
  assert.deepEqual(drawn(0, 500, 50, 5000, 0), { first: 0, end: 10 });
  assert.deepEqual(drawn(125_000, 500, 50, 5000, 3), { first: 2497, end: 2513 });
});

test('a line that can be seen in part is drawn', () => {
  assert.deepEqual(drawn(25, 500, 50, 5000, 0), { first: 0, end: 11 });
});

test('nothing outside the list is drawn, however far a browser says it is scrolled', () => {
  assert.deepEqual(drawn(-80, 500, 50, 5000, 5), { first: 0, end: 15 });
  assert.deepEqual(drawn(1e9, 500, 50, 5000, 5), { first: 4985, end: 5000 });
  assert.deepEqual(drawn(0, 500, 50, 0, 5), { first: 0, end: 0 });
  assert.deepEqual(drawn(0, 500, 50, 3, 5), { first: 0, end: 3 });
  assert.deepEqual(drawn(0, -10, 50, 3, 0), { first: 0, end: 0 });
});

test('every line can be seen somewhere, and lines follow each other without a gap', () => {
  for (let top = 0; top <= 100 * 32 - 300; top += 7) {
    const { first, end } = drawn(top, 300, 32, 100, 0);
    assert.ok(first * 32 <= top && end * 32 >= top + 300);
  }
});

test('a line is scrolled to no further than needed', () => {
  assert.equal(scrolledTo(3, 0, 500, 50), 0);
  assert.equal(scrolledTo(10, 0, 500, 50), 50);
  assert.equal(scrolledTo(2, 400, 500, 50), 100);
  assert.equal(scrolledTo(4999, 0, 500, 50), 5000 * 50 - 500);
});
