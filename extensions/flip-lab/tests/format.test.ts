import assert from 'node:assert/strict';
import { test } from 'node:test';
import { agoText, bytesText, durationText, numberText } from '../src/format';

test('numbers have four significant digits, and words where JSON has no number', () => {
  assert.equal(numberText(0.912345), '0.9123');
  assert.equal(numberText(1234.5678), '1235');
  assert.equal(numberText(0), '0');
  assert.equal(numberText('NaN'), 'NaN');
  assert.equal(numberText('Infinity'), '∞');
  assert.equal(numberText('-Infinity'), '−∞');
});

test('durations read as the boards of the library write them', () => {
  assert.equal(durationText(42.9), '42 s');
  assert.equal(durationText(187), '3:07 min');
  assert.equal(durationText(7509), '2:05:09 h');
  assert.equal(durationText(-1), '0 s');
});

test('sizes use the largest binary unit that leaves at least one', () => {
  assert.equal(bytesText(0), '0 B');
  assert.equal(bytesText(999), '999 B');
  assert.equal(bytesText(1000), '0.977 KiB');
  assert.equal(bytesText(3 * 1024 ** 2), '3 MiB');
  assert.equal(bytesText(1e15), '909 TiB');
});

test('moments are told from now, in the unit that fits', () => {
  const now_ms = Date.parse('2030-01-01T12:00:00Z');
  assert.equal(agoText('2030-01-01T11:59:30Z', now_ms, 'short', 'en'), '30 sec. ago');
  assert.equal(agoText('2030-01-01T10:00:00Z', now_ms, 'short', 'en'), '2 hr. ago');
  assert.equal(agoText('2029-12-31T11:00:00Z', now_ms, 'short', 'en'), 'yesterday');
  assert.equal(agoText('2030-01-01T12:00:00Z', now_ms, 'short', 'en'), 'now');
  assert.equal(agoText('2030-01-01T11:56:00Z', now_ms, 'narrow', 'en'), '4m ago');
});
