"use strict";(self.rspackChunkflip_lab=self.rspackChunkflip_lab||[]).push([[67],{475(e,a,r){var i=r(601),t=r.n(i),o=r(314),p=(r.n(o))()(t());p.push([e.id,`/* FLIP Lab in JupyterLab: side bar, lists, status bar. Colours come from the theme; the four
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
.jp-FlipLab-page .jp-FlipLab-filters { grid-template-columns: minmax(200px, 1fr) 160px 160px; padding: 10px 12px 4px; }
.jp-FlipLab-page .jp-FlipLab-filters input { grid-column: auto; }

.jp-FlipLab-actions { display: flex; gap: 2px; padding: 0 6px 4px; border-bottom: 1px solid var(--jp-border-color2); }
.jp-FlipLab-act { display: inline-flex; align-items: center; justify-content: center; width: 28px; height: 28px; padding: 0; border: 0; border-radius: 3px; background: none; cursor: pointer; }
.jp-FlipLab-act:hover:not([aria-disabled='true']) { background: var(--jp-layout-color2); }
.jp-FlipLab-act[aria-disabled='true'] { cursor: default; opacity: 0.35; }
.jp-FlipLab-act span { display: inline-flex; }

.jp-FlipLab-runs { flex: 1; min-height: 0; }
.jp-FlipLab-runs-scroll { height: 100%; overflow: hidden auto; scrollbar-gutter: stable; }
.jp-FlipLab-runs-scroll:focus-visible { outline: none; }
.jp-FlipLab-runs-all { position: relative; }
.jp-FlipLab-runs-heads { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }

.jp-FlipLab-run {
  --tone: var(--flip-lab-blue);
  position: absolute;
  inset: 0 0 auto;
  display: grid;
  grid-template: 'name name when' 22px 'state progress metric' 18px / auto minmax(0, 1fr) auto;
  align-content: center;
  gap: 1px 8px;
  box-sizing: border-box;
  padding: 0 10px 0 9px;
  border-left: 3px solid transparent;
  contain: strict;
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
.jp-FlipLab-run-name { grid-area: name; align-self: center; color: var(--jp-ui-font-color0); font-weight: 500; }
.jp-FlipLab-run-tag { margin-left: 6px; padding: 0 5px; border: 1px solid var(--jp-border-color1); border-radius: 8px; color: var(--flip-lab-muted); font-size: 11px; font-style: normal; font-weight: 400; }
.jp-FlipLab-run-state { grid-area: state; color: var(--tone); font-size: 12px; font-weight: 600; }
.jp-FlipLab-run-progress { display: flex; grid-area: progress; align-items: center; gap: 8px; font-size: 12px; }
.jp-FlipLab-run-bar { position: relative; flex: 1; max-width: 120px; height: 4px; overflow: hidden; border-radius: 2px; background: color-mix(in srgb, var(--tone) 22%, var(--jp-layout-color1)); }
.jp-FlipLab-run-bar span { position: absolute; inset: 0 auto 0 0; border-radius: 2px; background: var(--tone); }
.jp-FlipLab-run-rounds, .jp-FlipLab-run-when, .jp-FlipLab-run-metric, .jp-FlipLab-run-where, .jp-FlipLab-run-took { color: var(--flip-lab-muted); font-size: 12px; }
.jp-FlipLab-run-when { grid-area: when; align-self: center; }
.jp-FlipLab-run-metric { grid-area: metric; text-align: right; }
.jp-FlipLab-run:not(:hover) .jp-FlipLab-run-bar[data-unknown] span { width: 0; }
.jp-FlipLab-runs:not([data-wide]) :is(.jp-FlipLab-run-where, .jp-FlipLab-run-took) { position: absolute; width: 1px; height: 1px; clip-path: inset(50%); }

.jp-FlipLab-runs[data-wide] :is(.jp-FlipLab-run, .jp-FlipLab-runs-heads > div) {
  display: grid;
  grid-template: 'name state progress metric where took when' 100% / minmax(180px, 2.4fr) 84px minmax(120px, 1fr) minmax(110px, 1fr) minmax(120px, 1fr) 92px 96px;
  align-items: center;
  gap: 0 14px;
}
.jp-FlipLab-runs[data-wide] .jp-FlipLab-runs-heads { position: sticky; z-index: 1; top: 0; width: auto; height: 28px; clip-path: none; border-bottom: 1px solid var(--jp-border-color2); background: var(--jp-layout-color1); box-sizing: border-box; }
.jp-FlipLab-runs[data-wide] .jp-FlipLab-runs-heads > div { height: 100%; padding: 0 10px 0 12px; color: var(--flip-lab-muted); font-size: 12px; font-weight: 600; }
.jp-FlipLab-runs[data-wide] .jp-FlipLab-run-where { grid-area: where; }
.jp-FlipLab-runs[data-wide] .jp-FlipLab-run-took { grid-area: took; text-align: right; }
.jp-FlipLab-runs[data-wide] .jp-FlipLab-run-when { text-align: right; }
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
.jp-FlipLab-alerts li[data-new] { border-left-color: var(--flip-lab-red); }
.jp-FlipLab-alert-head { display: flex; align-items: baseline; justify-content: space-between; gap: 8px; }
.jp-FlipLab-alert-head time { flex: none; color: var(--flip-lab-muted); font-size: 12px; }
.jp-FlipLab-alerts code { color: var(--flip-lab-red); font-size: 12px; }
.jp-FlipLab-fix { color: var(--flip-lab-muted); }

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
`,""]),r.d(a,{},{A:p})},969(e,a,r){var i=r(601),t=r.n(i),o=r(314),p=(r.n(o))()(t());p.push([e.id,`/* The panels of the main area. */
`,""]),r.d(a,{},{A:p})},314(e){e.exports=function(e){var a=[];return a.toString=function(){return this.map(function(a){var r="",i=void 0!==a[5];return a[4]&&(r+="@supports (".concat(a[4],") {")),a[2]&&(r+="@media ".concat(a[2]," {")),i&&(r+="@layer".concat(a[5].length>0?" ".concat(a[5]):""," {")),r+=e(a),i&&(r+="}"),a[2]&&(r+="}"),a[4]&&(r+="}"),r}).join("")},a.i=function(e,r,i,t,o){"string"==typeof e&&(e=[[null,e,void 0]]);var p={};if(i)for(var n=0;n<this.length;n++){var l=this[n][0];null!=l&&(p[l]=!0)}for(var s=0;s<e.length;s++){var d=[].concat(e[s]);i&&p[d[0]]||(void 0!==o&&(void 0===d[5]||(d[1]="@layer".concat(d[5].length>0?" ".concat(d[5]):""," {").concat(d[1],"}")),d[5]=o),r&&(d[2]&&(d[1]="@media ".concat(d[2]," {").concat(d[1],"}")),d[2]=r),t&&(d[4]?(d[1]="@supports (".concat(d[4],") {").concat(d[1],"}"),d[4]=t):d[4]="".concat(t)),a.push(d))}},a}},601(e){e.exports=function(e){return e[1]}},72(e){var a=[];function r(e){for(var r=-1,i=0;i<a.length;i++)if(a[i].identifier===e){r=i;break}return r}function i(e,i){for(var t={},o=[],p=0;p<e.length;p++){var n=e[p],l=i.base?n[0]+i.base:n[0],s=t[l]||0,d="".concat(l," ").concat(s);t[l]=s+1;var b=r(d),u={css:n[1],media:n[2],sourceMap:n[3],supports:n[4],layer:n[5]};if(-1!==b)a[b].references++,a[b].updater(u);else{var c=function(e,a){var r=a.domAPI(a);return r.update(e),function(a){a?(a.css!==e.css||a.media!==e.media||a.sourceMap!==e.sourceMap||a.supports!==e.supports||a.layer!==e.layer)&&r.update(e=a):r.remove()}}(u,i);i.byIndex=p,a.splice(p,0,{identifier:d,updater:c,references:1})}o.push(d)}return o}e.exports=function(e,t){var o=i(e=e||[],t=t||{});return function(e){e=e||[];for(var p=0;p<o.length;p++){var n=r(o[p]);a[n].references--}for(var l=i(e,t),s=0;s<o.length;s++){var d=r(o[s]);0===a[d].references&&(a[d].updater(),a.splice(d,1))}o=l}}},659(e){var a={};e.exports=function(e,r){var i=function(e){if(void 0===a[e]){var r=document.querySelector(e);if(window.HTMLIFrameElement&&r instanceof window.HTMLIFrameElement)try{r=r.contentDocument.head}catch(e){r=null}a[e]=r}return a[e]}(e);if(!i)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");i.appendChild(r)}},540(e){e.exports=function(e){var a=document.createElement("style");return e.setAttributes(a,e.attributes),e.insert(a,e.options),a}},56(e,a,r){e.exports=function(e){var a=r.nc;a&&e.setAttribute("nonce",a)}},825(e){e.exports=function(e){if("u"<typeof document)return{update:function(){},remove:function(){}};var a=e.insertStyleElement(e);return{update:function(r){var i,t,o;i="",r.supports&&(i+="@supports (".concat(r.supports,") {")),r.media&&(i+="@media ".concat(r.media," {")),(t=void 0!==r.layer)&&(i+="@layer".concat(r.layer.length>0?" ".concat(r.layer):""," {")),i+=r.css,t&&(i+="}"),r.media&&(i+="}"),r.supports&&(i+="}"),(o=r.sourceMap)&&"u">typeof btoa&&(i+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(o))))," */")),e.styleTagTransform(i,a,e.options)},remove:function(){var e;null===(e=a).parentNode||e.parentNode.removeChild(e)}}}},113(e){e.exports=function(e,a){if(a.styleSheet)a.styleSheet.cssText=e;else{for(;a.firstChild;)a.removeChild(a.firstChild);a.appendChild(document.createTextNode(e))}}},166(e,a,r){var i=r(72),t=r.n(i),o=r(825),p=r.n(o),n=r(659),l=r.n(n),s=r(56),d=r.n(s),b=r(540),u=r.n(b),c=r(113),f=r.n(c),x=r(475),g={};g.styleTagTransform=f(),g.setAttributes=d(),g.insert=l().bind(null,"head"),g.domAPI=p(),g.insertStyleElement=u(),t()(x.A,g),x.A&&x.A.locals&&x.A.locals;var h=r(969),j={};j.styleTagTransform=f(),j.setAttributes=d(),j.insert=l().bind(null,"head"),j.domAPI=p(),j.insertStyleElement=u(),t()(h.A,j),h.A&&h.A.locals&&h.A.locals}}]);