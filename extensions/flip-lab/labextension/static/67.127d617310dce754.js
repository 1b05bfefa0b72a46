"use strict";(self.rspackChunkflip_lab=self.rspackChunkflip_lab||[]).push([[67],{475(i,p,e){var a=e(601),r=e.n(a),o=e(314),l=(e.n(o))()(r());l.push([i.id,`/* FLIP Lab in JupyterLab: side bar, lists, status bar. Colours come from the theme; the four
   tones of a run's state are the boards' own, which keep a contrast of 4.5 on light and dark. */

body {
  --flip-lab-muted: color-mix(in srgb, var(--jp-ui-font-color0, #000) 68%, var(--jp-layout-color1, #fff));
  --flip-lab-blue: #0067a3;
  --flip-lab-green: #00734f;
  --flip-lab-red: #b44a00;
  --flip-lab-amber: #7d5600;
}

body[data-jp-theme-light='false'] {
  --flip-lab-blue: #56b4e9;
  --flip-lab-green: #35c79a;
  --flip-lab-red: #ff8a4a;
  --flip-lab-amber: #e6b84d;
}

.jp-FlipLab {
  display: flex;
  flex-direction: column;
  min-width: 240px;
  overflow: hidden;
  background: var(--jp-layout-color1);
  color: var(--jp-ui-font-color1);
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size1);
  font-variant-numeric: tabular-nums;
}

.jp-FlipLab :is(button, input, select) { font: inherit; }
.jp-FlipLab :focus-visible { outline: 2px solid var(--jp-focus-outline-color, var(--jp-brand-color1)); outline-offset: -2px; }
.jp-FlipLab p { margin: 0; }
.jp-FlipLab-tabpanel, .jp-FlipLab-page { container-type: inline-size; }

.jp-FlipLab-banner { padding: 6px 12px; border-bottom: 1px solid var(--jp-border-color2); background: var(--jp-layout-color2); }
.jp-FlipLab-banner[data-tone='stale'] { color: var(--flip-lab-amber); }
.jp-FlipLab-banner[data-tone='trouble'] { color: var(--flip-lab-red); }

/* --- Tabs ---------------------------------------------------------------------------------- */

.jp-FlipLab-tabs { display: flex; flex: none; border-bottom: 1px solid var(--jp-border-color2); }
.jp-FlipLab-tabs button {
  display: inline-flex;
  flex: 1;
  align-items: center;
  justify-content: center;
  gap: 6px;
  min-height: 34px;
  padding: 0 8px;
  border: 0;
  border-bottom: 2px solid transparent;
  background: none;
  color: var(--flip-lab-muted);
  cursor: pointer;
}
.jp-FlipLab-tabs button:hover { background: var(--jp-layout-color2); }
.jp-FlipLab-tabs button[aria-selected='true'] { border-bottom-color: var(--jp-brand-color1); color: var(--jp-ui-font-color0); font-weight: 600; }
.jp-FlipLab-badge { min-width: 16px; padding: 0 5px; border-radius: 9px; background: #b3261e; color: #fff; font-size: 11px; font-weight: 600; line-height: 16px; text-align: center; }
.jp-FlipLab-tabpanel { display: flex; flex: 1; flex-direction: column; min-height: 0; }

/* --- Runs ---------------------------------------------------------------------------------- */

.jp-FlipLab-runs-view { display: flex; flex: 1; flex-direction: column; min-height: 0; }
.jp-FlipLab-filters { display: grid; grid-template-columns: 1fr 1fr; gap: 6px; padding: 8px 8px 4px; }
.jp-FlipLab-filters input { grid-column: 1 / -1; }
.jp-FlipLab-filters :is(input, select) {
  box-sizing: border-box;
  width: 100%;
  min-width: 0;
  height: 28px;
  margin: 0;
  padding: 0 8px;
  border: 1px solid var(--jp-input-border-color, var(--jp-border-color1));
  border-radius: 3px;
  background: var(--jp-input-background);
  color: var(--jp-ui-font-color0);
}
.jp-FlipLab-filters input::placeholder { color: var(--flip-lab-muted); opacity: 1; }

.jp-FlipLab-actions { display: flex; gap: 2px; padding: 0 6px 4px; border-bottom: 1px solid var(--jp-border-color2); }
.jp-FlipLab-act { display: inline-flex; align-items: center; justify-content: center; width: 28px; height: 28px; padding: 0; border: 0; border-radius: 3px; background: none; cursor: pointer; }
.jp-FlipLab-act:hover:not([aria-disabled='true']) { background: var(--jp-layout-color2); }
.jp-FlipLab-act[aria-disabled='true'] { cursor: default; opacity: 0.4; }
.jp-FlipLab-act:first-child { margin-right: 4px; }
.jp-FlipLab-act > span:first-child { display: inline-flex; }
.jp-FlipLab-act-text { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@container (min-width: 640px) {
  .jp-FlipLab-filters { grid-template-columns: minmax(200px, 1fr) 160px 160px; padding: 10px 12px 4px; }
  .jp-FlipLab-filters input { grid-column: auto; }
  .jp-FlipLab-act { gap: 5px; width: auto; padding: 0 8px; color: var(--jp-ui-font-color1); }
  .jp-FlipLab-act-text { position: static; width: auto; height: auto; clip-path: none; }
}

.jp-FlipLab-runs { flex: 1; min-height: 0; }
.jp-FlipLab-runs-scroll { height: 100%; overflow: hidden auto; scrollbar-gutter: stable; scrollbar-width: thin; }
.jp-FlipLab-runs-scroll:focus-visible { outline: none; }
.jp-FlipLab-runs-all { position: relative; }
.jp-FlipLab-runs-heads { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }

.jp-FlipLab-run {
  --tone: var(--flip-lab-blue);
  position: absolute;
  inset: 0 0 auto;
  display: flex;
  flex-wrap: wrap;
  align-content: center;
  align-items: center;
  gap: 1px 8px;
  box-sizing: border-box;
  padding: 0 10px 0 9px;
  border-left: 3px solid transparent;
  contain: strict;
  user-select: none;
  cursor: default;
  line-height: 18px;
}
.jp-FlipLab-run[data-state='completed'] { --tone: var(--flip-lab-green); }
.jp-FlipLab-run[data-state='failed'] { --tone: var(--flip-lab-red); }
.jp-FlipLab-run[data-state='paused'] { --tone: var(--flip-lab-amber); }
.jp-FlipLab-run:is([data-state='pending'], [data-state='starting'], [data-state='stopped']) { --tone: var(--flip-lab-muted); }
.jp-FlipLab-run:hover { background: var(--jp-layout-color2); }
.jp-FlipLab-run[aria-selected='true'] { border-left-color: var(--jp-brand-color1); background: color-mix(in srgb, var(--jp-brand-color1) 14%, var(--jp-layout-color1)); }
.jp-FlipLab-runs-scroll:focus-visible .jp-FlipLab-run[data-active] { outline: 2px solid var(--jp-focus-outline-color, var(--jp-brand-color1)); outline-offset: -2px; }
.jp-FlipLab-run > span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.jp-FlipLab-run-name { flex: 1 1 calc(100% - 72px); color: var(--jp-ui-font-color0); font-weight: 500; }
.jp-FlipLab-run-id { color: var(--flip-lab-muted); font-size: 12px; font-weight: 400; }
.jp-FlipLab-run-tag { margin-left: 6px; padding: 0 5px; border: 1px solid var(--jp-border-color1); border-radius: 8px; color: var(--flip-lab-muted); font-size: 11px; font-style: normal; font-weight: 400; }
.jp-FlipLab-run-state { grid-area: state; order: 2; color: var(--tone); font-size: 12px; font-weight: 600; }
.jp-FlipLab-run-progress { display: flex; gap: 6px; grid-area: progress; order: 3; flex: none; align-items: center; font-size: 12px; }
.jp-FlipLab-run-bar { position: relative; flex: none; width: 32px; height: 4px; overflow: hidden; border-radius: 2px; background: color-mix(in srgb, var(--tone) 22%, var(--jp-layout-color1)); }
.jp-FlipLab-run-bar span { position: absolute; inset: 0 auto 0 0; border-radius: 2px; background: var(--tone); }
.jp-FlipLab-run-rounds, .jp-FlipLab-run-when, .jp-FlipLab-run-metric, .jp-FlipLab-run-where, .jp-FlipLab-run-took { color: var(--flip-lab-muted); font-size: 12px; }
.jp-FlipLab-run-when { grid-area: when; order: 1; flex: 0 0 64px; text-align: right; }
.jp-FlipLab-run-metric { display: flex; grid-area: metric; order: 4; flex: 1 1 0; gap: 4px; min-width: max-content; justify-content: flex-end; }
.jp-FlipLab-run-metric span:first-child { overflow: hidden; flex: 1; width: 0; text-align: right; text-overflow: ellipsis; } /* gives way to the value */
.jp-FlipLab-run-metric span:last-child { flex: none; color: var(--jp-ui-font-color1); }
.jp-FlipLab-runs:not([data-wide]) .jp-FlipLab-run[data-state='completed'] .jp-FlipLab-run-bar { display: none; }
.jp-FlipLab-runs:not([data-wide]) :is(.jp-FlipLab-run-where, .jp-FlipLab-run-took) { position: absolute; width: 1px; height: 1px; clip-path: inset(50%); }

.jp-FlipLab-runs[data-wide] :is(.jp-FlipLab-run, .jp-FlipLab-runs-heads > div) {
  display: grid;
  align-content: stretch;
  grid-template: 'name state progress metric where took when' 100% / minmax(160px, 2.2fr) 80px minmax(110px, 1fr) minmax(110px, 1fr) minmax(150px, 1.2fr) 84px 92px;
  align-items: center;
  gap: 0 14px;
}
.jp-FlipLab-runs[data-wide] .jp-FlipLab-runs-heads { position: sticky; z-index: 1; top: 0; width: auto; height: 28px; clip-path: none; border-bottom: 1px solid var(--jp-border-color2); background: var(--jp-layout-color1); box-sizing: border-box; }
.jp-FlipLab-runs[data-wide] .jp-FlipLab-runs-heads > div { height: 100%; padding: 0 10px 0 12px; color: var(--flip-lab-muted); font-size: 12px; font-weight: 600; }
.jp-FlipLab-runs[data-wide] .jp-FlipLab-run-bar { flex: 1; max-width: 120px; }
.jp-FlipLab-runs[data-wide] .jp-FlipLab-run-where { grid-area: where; }
.jp-FlipLab-runs[data-wide] .jp-FlipLab-run-took { grid-area: took; text-align: right; }
.jp-FlipLab-runs[data-wide] .jp-FlipLab-run-name { grid-area: name; }
.jp-FlipLab-runs[data-wide] .jp-FlipLab-runs-heads span:nth-child(n + 6), .jp-FlipLab-runs[data-wide] .jp-FlipLab-runs-heads span:nth-child(4) { text-align: right; }
.jp-FlipLab-counts { display: flex; flex: none; justify-content: space-between; padding: 3px 12px; border-top: 1px solid var(--jp-border-color2); color: var(--flip-lab-muted); font-size: 12px; line-height: 20px; }

/* --- Nothing, trouble, alerts, nodes ---------------------------------------------------------- */

.jp-FlipLab-nothing, .jp-FlipLab-trouble { display: flex; flex: 1; flex-direction: column; align-items: center; gap: 10px; padding: 28px 16px !important; color: var(--flip-lab-muted); text-align: center; }
.jp-FlipLab-trouble { color: var(--flip-lab-red); white-space: pre-line; }
.jp-FlipLab-button { min-height: 28px; padding: 3px 12px; border: 1px solid var(--jp-border-color1); border-radius: 3px; background: var(--jp-layout-color1); color: var(--jp-ui-font-color0); cursor: pointer; }
.jp-FlipLab-button:hover { background: var(--jp-layout-color2); }
.jp-FlipLab-link { overflow: hidden; min-width: 0; padding: 2px 0; border: 0; background: none; color: var(--jp-content-link-color); cursor: pointer; text-align: left; text-overflow: ellipsis; white-space: nowrap; }
.jp-FlipLab-link:hover { text-decoration: underline; }

.jp-FlipLab-alerts, .jp-FlipLab-nodes { flex: 1; margin: 0; padding: 0; overflow: auto; list-style: none; }
.jp-FlipLab-alerts li { padding: 6px 12px 8px; border-bottom: 1px solid var(--jp-border-color2); border-left: 3px solid transparent; overflow-wrap: anywhere; line-height: 1.45; }
.jp-FlipLab-alerts li[data-new] { border-left-color: var(--flip-lab-amber); }
.jp-FlipLab-alerts li[data-new][data-level='error'] { border-left-color: var(--flip-lab-red); }
.jp-FlipLab-alert-head { display: flex; align-items: baseline; justify-content: space-between; gap: 8px; }
.jp-FlipLab-alert-head time { flex: none; color: var(--flip-lab-muted); font-size: 12px; }
.jp-FlipLab-alerts code { color: var(--flip-lab-amber); font-size: 12px; }
.jp-FlipLab-alerts li[data-level='error'] code { color: var(--flip-lab-red); }

.jp-FlipLab-nodes section { padding: 8px 12px 12px; border-bottom: 1px solid var(--jp-border-color2); }
.jp-FlipLab-nodes h2 { display: flex; align-items: baseline; gap: 8px; margin: 0 0 4px; font-size: 13px; font-weight: 600; }
.jp-FlipLab-nodes h2 button { font-weight: 600; }
.jp-FlipLab-nodes small { flex: none; color: var(--flip-lab-muted); font-size: 12px; font-weight: 400; }
.jp-FlipLab-nodes table { width: 100%; max-width: 720px; border-collapse: collapse; font-size: 12px; }
.jp-FlipLab-nodes :is(th, td) { padding: 2px 0 2px 8px; overflow: hidden; text-align: right; text-overflow: ellipsis; white-space: nowrap; }
.jp-FlipLab-nodes :is(th, td):first-child { padding-left: 0; text-align: left; }
.jp-FlipLab-nodes thead th { color: var(--flip-lab-muted); font-weight: 400; }
.jp-FlipLab-nodes tbody th { font-weight: 500; }
.jp-FlipLab-nodes tbody tr:hover { background: var(--jp-layout-color2); }
.jp-FlipLab-nodes tr[data-failed] td:nth-child(4) { color: var(--flip-lab-red); font-weight: 600; }
.jp-FlipLab-nodes ul { margin: 0; padding: 0; list-style: none; }
.jp-FlipLab-nodes li { display: flex; align-items: baseline; gap: 8px; padding: 1px 0; }
.jp-FlipLab-nodes code { font-size: 12px; }
.jp-FlipLab-hint { padding: 8px 12px; color: var(--flip-lab-muted); }
/* a narrow side bar has no room for all columns */
@container (max-width: 320px) {
  .jp-FlipLab-nodes :is(th, td):nth-child(5) { display: none; }
}

/* --- Status bar, dialog -------------------------------------------------------------------- */

.jp-FlipLab-status { height: 100%; }
.jp-FlipLab-status button { display: inline-flex; align-items: center; gap: 5px; height: 100%; padding: 0 6px; border: 0; background: none; color: var(--jp-ui-font-color1); cursor: pointer; font: inherit; font-variant-numeric: tabular-nums; }
.jp-FlipLab-status button:hover { background: var(--jp-layout-color2); }
.jp-FlipLab-status span { display: inline-flex; }

.jp-FlipLab-picker fieldset { display: flex; flex-direction: column; gap: 2px; width: min(460px, 80vw); margin: 0; padding: 0; border: 0; }
.jp-FlipLab-picker legend { margin-bottom: 6px; padding: 0; }
.jp-FlipLab-picker label { display: flex; gap: 10px; padding: 7px 8px; border-radius: 4px; cursor: pointer; line-height: 1.4; }
.jp-FlipLab-picker label:hover { background: var(--jp-layout-color2); }
.jp-FlipLab-picker label > span { display: flex; flex-direction: column; }
.jp-FlipLab-picker small { color: var(--flip-lab-muted); font-size: 12px; }

@media (forced-colors: active) {
  .jp-FlipLab-run[aria-selected='true'] { outline: 1px solid Highlight; outline-offset: -1px; }
  .jp-FlipLab-run-bar { border: 1px solid CanvasText; }
  .jp-FlipLab-run-bar span { background: Highlight; }
  .jp-FlipLab-tabs button[aria-selected='true'] { border-bottom-color: Highlight; }
}
`,""]),e.d(p,{},{A:l})},969(i,p,e){var a=e(601),r=e.n(a),o=e(314),l=(e.n(o))()(r());l.push([i.id,`/* The panels of the main area. Tones of states come from base.css; all else is the theme's. */

.jp-FlipBoard,
.jp-FlipPanel,
.jp-FlipForm {
  overflow: auto;
  background: var(--jp-layout-color1);
  color: var(--jp-ui-font-color0);
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size1);
  line-height: 1.45;
}

.jp-FlipIcon { stroke: var(--jp-inverse-layout-color3); }
.jp-DirListing-item.jp-mod-selected .jp-FlipIcon { stroke: #fff; }
.jp-FlipTab[data-state='running'] .jp-FlipIcon { stroke: var(--flip-lab-blue); }
.jp-FlipTab[data-state='completed'] .jp-FlipIcon { stroke: var(--flip-lab-green); }
.jp-FlipTab[data-state='failed'] .jp-FlipIcon { stroke: var(--flip-lab-red); }
.jp-FlipTab[data-state='paused'] .jp-FlipIcon { stroke: var(--flip-lab-amber); }

/* --- Boards -------------------------------------------------------------------------------- */

.jp-FlipBoard { display: flex; flex-direction: column; background: var(--jp-layout-color0); }
.jp-FlipBoard:focus { outline: none; }
.jp-FlipBoard-host { flex: 1; }
.jp-FlipBoard-host > section { max-width: 1440px; margin: 0 auto; border: 0; border-radius: 0; }

.jp-FlipNotice {
  position: sticky;
  z-index: 5;
  top: 0;
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 4px 10px;
  padding: 6px 16px;
  border-bottom: 1px solid var(--jp-border-color2);
  background: var(--jp-layout-color2);
  color: var(--flip-lab-amber);
}
.jp-FlipNotice[hidden] { display: none; }
.jp-FlipNotice[data-kind='problem'] { color: var(--flip-lab-red); }
.jp-FlipNotice span { color: var(--jp-ui-font-color0); }
.jp-FlipNotice[data-kind='waiting'] span { color: inherit; }

/* --- Words, buttons, fields ---------------------------------------------------------------- */

.jp-FlipPanel > section { box-sizing: border-box; max-width: 1440px; margin: 0 auto; padding: 16px 20px 32px; }
.jp-FlipPanel :is(h1, h2, p, ul, dl, dd, dt) { margin: 0; padding: 0; }
.jp-FlipPanel h1 { font-size: 20px; font-weight: 600; line-height: 1.3; }
.jp-FlipPanel h2 { font-size: 14px; font-weight: 600; line-height: 1.35; }
.jp-FlipPanel code { padding: 0; background: none; color: inherit; font-family: var(--jp-code-font-family); font-size: 12px; overflow-wrap: anywhere; }
.jp-FlipHeader p { max-width: 80ch; margin-top: 2px; color: var(--flip-lab-muted); }
.jp-FlipNote { margin: 0; color: var(--flip-lab-muted); font-size: 12px; overflow-wrap: anywhere; }
.jp-FlipPanel .jp-FlipEmpty, .jp-FlipEmpty { padding: 32px 0; color: var(--flip-lab-muted); text-align: center; }
.jp-FlipProblem { margin: 8px 0; padding: 7px 10px; border-left: 3px solid var(--flip-lab-red); border-radius: 0 4px 4px 0; background: var(--jp-layout-color2); overflow-wrap: anywhere; }
.jp-FlipProblem strong { color: var(--flip-lab-red); }
.jp-FlipTag { display: inline-block; margin: 2px 4px 0 6px; padding: 0 7px; border: 1px solid var(--jp-border-color1); border-radius: 9px; color: var(--flip-lab-muted); font-size: 11px; font-weight: 400; }

.jp-FlipBar { display: flex; flex-wrap: wrap; align-items: end; gap: 8px 12px; margin: 14px 0; }
.jp-FlipCount { align-self: center; margin-left: auto; color: var(--flip-lab-muted); }
.jp-FlipChoice { display: flex; flex-direction: column; min-width: 120px; }
.jp-FlipChoice span { color: var(--flip-lab-muted); font-size: 11px; line-height: 14px; }
.jp-FlipTick { display: flex; align-items: center; gap: 6px; min-height: 30px; }
.jp-FlipSearch.jp-FlipSearch { flex: 1 1 220px; max-width: 380px; }

.jp-FlipSearch.jp-FlipSearch,
.jp-FlipChoice select,
.jp-FlipStage,
.jp-FlipField :is(input[type='text'], select, textarea) {
  box-sizing: border-box;
  min-width: 0;
  min-height: 30px;
  margin: 0;
  padding: 3px 8px;
  border: 1px solid color-mix(in srgb, var(--jp-ui-font-color0) 45%, var(--jp-layout-color1));
  border-radius: 4px;
  background: var(--jp-layout-color0);
  color: var(--jp-ui-font-color0);
  font: inherit;
}

.jp-FlipButton.jp-FlipButton,
.jp-FlipSides button {
  min-height: 30px;
  margin: 0;
  padding: 3px 12px;
  border: 1px solid color-mix(in srgb, var(--jp-ui-font-color0) 45%, var(--jp-layout-color1));
  border-radius: 4px;
  background: var(--jp-layout-color1);
  color: var(--jp-ui-font-color0);
  cursor: pointer;
  font: inherit;
  line-height: 1.3;
  white-space: nowrap;
}
.jp-FlipButton.jp-FlipButton:hover:not(:disabled), .jp-FlipSides button:hover { background: var(--jp-layout-color2); }
.jp-FlipButton.jp-FlipButton:disabled { border-color: var(--jp-border-color2); color: var(--flip-lab-muted); cursor: default; }
.jp-FlipButton.jp-FlipButton[aria-busy='true'] { border-style: dashed; cursor: progress; }
.jp-FlipButton.jp-mod-main { border-color: var(--flip-lab-blue); background: var(--flip-lab-blue); color: #fff; font-weight: 600; }
.jp-FlipButton.jp-mod-main:hover:not(:disabled) { background: color-mix(in srgb, var(--flip-lab-blue), #000 16%); }
body[data-jp-theme-light='false'] .jp-FlipButton.jp-mod-main { color: #101318; }
body[data-jp-theme-light='false'] .jp-FlipButton.jp-mod-main:hover:not(:disabled) { background: color-mix(in srgb, var(--flip-lab-blue), #fff 16%); }
.jp-FlipLink.jp-FlipLink { padding: 0; border: 0; background: none; color: var(--jp-content-link-color); cursor: pointer; font: inherit; text-align: left; text-decoration: none; }
.jp-FlipLink.jp-FlipLink:hover { text-decoration: underline; }
.jp-FlipActions { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; }
:is(.jp-FlipPanel, .jp-FlipForm, .jp-FlipNotice, .jp-FlipSides, .jp-FlipToml) :focus-visible, .jp-FlipToml:focus-visible { outline: 2px solid var(--jp-brand-color1); outline-offset: 1px; }
.jp-FlipPanel ::placeholder, .jp-FlipForm ::placeholder { color: var(--flip-lab-muted); opacity: 1; }

/* --- Gallery ------------------------------------------------------------------------------- */

.jp-FlipCards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)); gap: 16px; list-style: none; }
.jp-FlipCard { display: flex; flex-direction: column; gap: 6px; min-width: 0; padding: 14px; border: 1px solid var(--jp-border-color2); border-radius: 8px; background: var(--jp-layout-color0); }
.jp-FlipCard-picture { width: 100%; aspect-ratio: 2; object-fit: contain; border-radius: 4px; }
.jp-FlipCard .jp-FlipCard-name { color: var(--flip-lab-muted); }
.jp-FlipCard p { line-height: 1.5; }
.jp-FlipLinks { display: flex; flex-wrap: wrap; gap: 4px 16px; }
.jp-FlipFacts { display: flex; flex-wrap: wrap; gap: 4px 22px; margin-top: auto !important; padding-top: 8px !important; }
.jp-FlipFacts dt { color: var(--flip-lab-muted); font-size: 11px; line-height: 15px; }
.jp-FlipFacts dd { overflow-wrap: anywhere; }
.jp-FlipCard .jp-FlipActions { margin-top: 6px; }
.jp-FlipCard .jp-FlipButton { padding: 3px 10px; }
.jp-FlipToml { max-height: 60vh; margin: 0; padding: 10px 12px; overflow: auto; border-radius: 4px; background: var(--jp-layout-color2); font-family: var(--jp-code-font-family); font-size: 12px; line-height: 1.5; white-space: pre-wrap; }

/* --- Models and sweeps --------------------------------------------------------------------- */

.jp-FlipGroup { margin-bottom: 12px; padding: 0 14px; border: 1px solid var(--jp-border-color2); border-radius: 8px; background: var(--jp-layout-color0); }
.jp-FlipGroup > summary { display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px 16px; padding: 11px 0; cursor: pointer; }
.jp-FlipGroup > summary::before { content: '▸'; width: 8px; color: var(--flip-lab-muted); }
.jp-FlipGroup[open] > summary::before { content: '▾'; }
.jp-FlipGroup > summary span { color: var(--flip-lab-muted); }
.jp-FlipGroup > summary progress { width: 120px; height: 8px; margin-left: auto; align-self: center; accent-color: var(--flip-lab-blue); }
.jp-FlipGroup > .jp-FlipBar { margin: 0 0 8px; }
.jp-FlipScroll { margin-bottom: 12px; overflow-x: auto; }
.jp-FlipTable { width: 100%; min-width: 860px; border-collapse: collapse; font-variant-numeric: tabular-nums; }
.jp-FlipTable :is(th, td) { padding: 6px 14px 6px 0; border-top: 1px solid var(--jp-border-color2); font-weight: 400; text-align: left; vertical-align: top; }
.jp-FlipTable thead th { border-top: 0; color: var(--flip-lab-muted); font-size: 12px; white-space: nowrap; }
.jp-FlipTable tbody th { font-weight: 500; }
.jp-FlipTable tbody th code { display: block; color: var(--flip-lab-muted); font-weight: 400; white-space: nowrap; }
.jp-FlipTable .jp-mod-number.jp-mod-number { text-align: right; }
.jp-FlipMetrics { display: grid; grid-template-columns: auto; gap: 1px; }
.jp-FlipMetrics div { display: flex; gap: 10px; justify-content: space-between; max-width: 240px; }
.jp-FlipMetrics dt { color: var(--flip-lab-muted); }
.jp-FlipState { --tone: var(--flip-lab-blue); color: var(--tone); font-weight: 600; }
.jp-FlipState[data-state='completed'] { --tone: var(--flip-lab-green); }
.jp-FlipState[data-state='failed'] { --tone: var(--flip-lab-red); }
.jp-FlipState[data-state='paused'] { --tone: var(--flip-lab-amber); }
.jp-FlipState:is([data-state='pending'], [data-state='starting'], [data-state='stopped']) { --tone: var(--flip-lab-muted); }
.jp-FlipStage[data-stage='production'] { border-color: var(--flip-lab-green); color: var(--flip-lab-green); font-weight: 600; }
.jp-FlipStage[data-stage='staging'] { border-color: var(--flip-lab-amber); color: var(--flip-lab-amber); font-weight: 600; }

/* twice: JupyterLab has rules for fields in dialogs */
.jp-FlipRegister.jp-FlipRegister { display: flex; flex-direction: column; gap: 10px; width: min(460px, 80vw); }
.jp-FlipRegister label { display: flex; flex-direction: column; gap: 2px; }
.jp-FlipRegister.jp-FlipRegister :is(select, input) { box-sizing: border-box; width: 100%; height: 32px; margin: 0; padding: 3px 8px; border: 1px solid color-mix(in srgb, var(--jp-ui-font-color0) 45%, var(--jp-layout-color1)); border-radius: 4px; background: var(--jp-layout-color0); color: var(--jp-ui-font-color0); font: inherit; }

/* --- Scenario files ------------------------------------------------------------------------ */

.jp-FlipScenario { min-width: 0; }
.jp-FlipTool .jp-ToolbarButtonComponent-label { margin-left: 5px; }
.jp-FlipForm-body { container-type: inline-size; display: flex; flex-direction: column; gap: 12px; max-width: 880px; padding: 10px 16px 32px; }
.jp-FlipForm-status { position: sticky; z-index: 1; top: 0; margin: -10px -16px 0; padding: 8px 16px; background: var(--jp-layout-color1); color: var(--flip-lab-muted); font-weight: 600; }
.jp-FlipForm-status[data-tone='good'] { color: var(--flip-lab-green); }
.jp-FlipForm-status[data-tone='bad'] { color: var(--flip-lab-red); }
.jp-FlipForm .jp-FlipProblem { margin: 0; }
.jp-FlipForm .jp-FlipProblem .jp-FlipActions { margin-top: 4px; }
.jp-FlipForm fieldset { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 190px), 1fr)); gap: 12px 18px; min-width: 0; margin: 0; padding: 6px 14px 14px; border: 1px solid var(--jp-border-color2); border-radius: 8px; }
.jp-FlipForm fieldset:disabled { opacity: 0.6; }
.jp-FlipForm legend { padding: 0 6px; font-weight: 600; }
.jp-FlipField { min-width: 0; padding-left: 8px; border-left: 3px solid transparent; }
.jp-FlipField[data-set='true'] { border-left-color: var(--flip-lab-blue); }
.jp-FlipField:is([data-path='description'], [data-path='title']) { grid-column: 1 / -1; }
.jp-FlipField-head { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 8px; min-height: 22px; }
.jp-FlipUndo { position: absolute; right: 0; width: 24px; min-height: 28px; margin: 0; padding: 0; border: 0; border-radius: 4px; background: none; color: var(--flip-lab-blue); cursor: pointer; font: inherit; font-size: 15px; line-height: 1; }
.jp-FlipUndo:hover { background: var(--jp-layout-color2); }
@media (hover: hover) {
  .jp-FlipField:not(:hover, :focus-within) .jp-FlipUndo { opacity: 0; }
}
.jp-FlipField-range { color: var(--flip-lab-muted); font-size: 12px; }
.jp-FlipField-control { position: relative; display: flex; align-items: center; gap: 8px; min-height: 30px; padding-right: 28px; }
.jp-FlipField ::placeholder { font-style: italic; } /* what holds where the text says nothing */
.jp-FlipField-control :is(input[type='text'], select, textarea) { flex: 1; width: 100%; }
.jp-FlipField textarea { resize: vertical; line-height: 1.45; }
.jp-FlipField input[type='checkbox'] { width: 16px; height: 16px; margin: 0; accent-color: var(--flip-lab-blue); }
.jp-FlipField [aria-invalid='true'] { border-color: var(--flip-lab-red); box-shadow: inset 0 0 0 1px var(--flip-lab-red); }
.jp-FlipField-trouble { margin: 3px 0 0; font-size: 12px; overflow-wrap: anywhere; }
.jp-FlipField-trouble strong { color: var(--flip-lab-red); }
.jp-FlipField .jp-FlipNote { display: -webkit-box; margin-top: 2px; overflow: hidden; -webkit-box-orient: vertical; -webkit-line-clamp: 2; }
.jp-FlipField:focus-within .jp-FlipNote { -webkit-line-clamp: none; }
.jp-FlipScenario .jp-FlipMark { background: color-mix(in srgb, var(--flip-lab-red) 14%, transparent); box-shadow: inset 3px 0 0 var(--flip-lab-red); }
.jp-FlipSides { display: flex; align-items: center; margin-left: 8px; }
.jp-FlipSides button { min-height: 22px; padding: 0 9px; border-radius: 0; font-size: 12px; }
.jp-FlipSides button + button { border-left: 0; }
.jp-FlipSides button:first-child { border-radius: 4px 0 0 4px; }
.jp-FlipSides button:last-child { border-radius: 0 4px 4px 0; }
.jp-FlipSides button[aria-pressed='true'] { background: var(--jp-layout-color3); font-weight: 600; }

@media (forced-colors: active) {
  .jp-FlipField[data-set='true'] { border-left-color: Highlight; }
  .jp-FlipSides button[aria-pressed='true'] { background: Highlight; color: HighlightText; }
  .jp-FlipScenario .jp-FlipMark { outline: 1px solid Mark; }
  .jp-FlipIcon { stroke: CanvasText; }
}
`,""]),e.d(p,{},{A:l})},314(i){i.exports=function(i){var p=[];return p.toString=function(){return this.map(function(p){var e="",a=void 0!==p[5];return p[4]&&(e+="@supports (".concat(p[4],") {")),p[2]&&(e+="@media ".concat(p[2]," {")),a&&(e+="@layer".concat(p[5].length>0?" ".concat(p[5]):""," {")),e+=i(p),a&&(e+="}"),p[2]&&(e+="}"),p[4]&&(e+="}"),e}).join("")},p.i=function(i,e,a,r,o){"string"==typeof i&&(i=[[null,i,void 0]]);var l={};if(a)for(var t=0;t<this.length;t++){var n=this[t][0];null!=n&&(l[n]=!0)}for(var d=0;d<i.length;d++){var s=[].concat(i[d]);a&&l[s[0]]||(void 0!==o&&(void 0===s[5]||(s[1]="@layer".concat(s[5].length>0?" ".concat(s[5]):""," {").concat(s[1],"}")),s[5]=o),e&&(s[2]&&(s[1]="@media ".concat(s[2]," {").concat(s[1],"}")),s[2]=e),r&&(s[4]?(s[1]="@supports (".concat(s[4],") {").concat(s[1],"}"),s[4]=r):s[4]="".concat(r)),p.push(s))}},p}},601(i){i.exports=function(i){return i[1]}},72(i){var p=[];function e(i){for(var e=-1,a=0;a<p.length;a++)if(p[a].identifier===i){e=a;break}return e}function a(i,a){for(var r={},o=[],l=0;l<i.length;l++){var t=i[l],n=a.base?t[0]+a.base:t[0],d=r[n]||0,s="".concat(n," ").concat(d);r[n]=d+1;var c=e(s),b={css:t[1],media:t[2],sourceMap:t[3],supports:t[4],layer:t[5]};if(-1!==c)p[c].references++,p[c].updater(b);else{var u=function(i,p){var e=p.domAPI(p);return e.update(i),function(p){p?(p.css!==i.css||p.media!==i.media||p.sourceMap!==i.sourceMap||p.supports!==i.supports||p.layer!==i.layer)&&e.update(i=p):e.remove()}}(b,a);a.byIndex=l,p.splice(l,0,{identifier:s,updater:u,references:1})}o.push(s)}return o}i.exports=function(i,r){var o=a(i=i||[],r=r||{});return function(i){i=i||[];for(var l=0;l<o.length;l++){var t=e(o[l]);p[t].references--}for(var n=a(i,r),d=0;d<o.length;d++){var s=e(o[d]);0===p[s].references&&(p[s].updater(),p.splice(s,1))}o=n}}},659(i){var p={};i.exports=function(i,e){var a=function(i){if(void 0===p[i]){var e=document.querySelector(i);if(window.HTMLIFrameElement&&e instanceof window.HTMLIFrameElement)try{e=e.contentDocument.head}catch(i){e=null}p[i]=e}return p[i]}(i);if(!a)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");a.appendChild(e)}},540(i){i.exports=function(i){var p=document.createElement("style");return i.setAttributes(p,i.attributes),i.insert(p,i.options),p}},56(i,p,e){i.exports=function(i){var p=e.nc;p&&i.setAttribute("nonce",p)}},825(i){i.exports=function(i){if("u"<typeof document)return{update:function(){},remove:function(){}};var p=i.insertStyleElement(i);return{update:function(e){var a,r,o;a="",e.supports&&(a+="@supports (".concat(e.supports,") {")),e.media&&(a+="@media ".concat(e.media," {")),(r=void 0!==e.layer)&&(a+="@layer".concat(e.layer.length>0?" ".concat(e.layer):""," {")),a+=e.css,r&&(a+="}"),e.media&&(a+="}"),e.supports&&(a+="}"),(o=e.sourceMap)&&"u">typeof btoa&&(a+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(o))))," */")),i.styleTagTransform(a,p,i.options)},remove:function(){var i;null===(i=p).parentNode||i.parentNode.removeChild(i)}}}},113(i){i.exports=function(i,p){if(p.styleSheet)p.styleSheet.cssText=i;else{for(;p.firstChild;)p.removeChild(p.firstChild);p.appendChild(document.createTextNode(i))}}},166(i,p,e){var a=e(72),r=e.n(a),o=e(825),l=e.n(o),t=e(659),n=e.n(t),d=e(56),s=e.n(d),c=e(540),b=e.n(c),u=e(113),f=e.n(u),x=e(475),j={};j.styleTagTransform=f(),j.setAttributes=s(),j.insert=n().bind(null,"head"),j.domAPI=l(),j.insertStyleElement=b(),r()(x.A,j),x.A&&x.A.locals&&x.A.locals;var g=e(969),h={};h.styleTagTransform=f(),h.setAttributes=s(),h.insert=n().bind(null,"head"),h.domAPI=l(),h.insertStyleElement=b(),r()(g.A,h),g.A&&g.A.locals&&g.A.locals}}]);